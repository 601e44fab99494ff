"""L2 attacks: images of another class nearby, upper bounds of what certificates bound below."""

from lsrs_tf.attacks.attacker import Attacker
from lsrs_tf.attacks.carlini_wagner import CarliniWagner
from lsrs_tf.attacks.ddn import DDN
from lsrs_tf.attacks.deepfool import DeepFool
from lsrs_tf.attacks.fmn import FMN
from lsrs_tf.attacks.lbfgs import LBFGS
from lsrs_tf.attacks.methods import METHODS
from lsrs_tf.attacks.pgd import PGD
from lsrs_tf.attacks.result import AttackResult
from lsrs_tf.attacks.search import Attack

__all__ = [
    "DDN",
    "FMN",
    "LBFGS",
    "METHODS",
    "PGD",
    "Attack",
    "AttackResult",
    "Attacker",
    "CarliniWagner",
    "DeepFool",
]
