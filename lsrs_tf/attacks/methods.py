"""The attacks by their names."""

from lsrs_tf.attacks.carlini_wagner import CarliniWagner
from lsrs_tf.attacks.ddn import DDN
from lsrs_tf.attacks.deepfool import DeepFool
from lsrs_tf.attacks.fmn import FMN
from lsrs_tf.attacks.lbfgs import LBFGS
from lsrs_tf.attacks.pgd import PGD

METHODS = {method.name: method for method in (PGD, DDN, FMN, DeepFool, CarliniWagner, LBFGS)}


def attack_of(name, steps=None):
    """Returns the `Attack` of a name, or raises if there is none of that name."""
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"`method` must be one of {', '.join(METHODS)}. Received: {name!r}")
    return METHODS[name](steps)
