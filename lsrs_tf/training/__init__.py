"""What a step of the training of a smoothed model minimizes."""

from lsrs_tf.training.catrs import CATRS
from lsrs_tf.training.consistency import Consistency
from lsrs_tf.training.gaussian import Gaussian
from lsrs_tf.training.macer import MACER
from lsrs_tf.training.smooth_adv import SmoothAdv

__all__ = ["CATRS", "MACER", "Consistency", "Gaussian", "SmoothAdv"]
