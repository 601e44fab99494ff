"""Certified image classifiers by latent space randomized smoothing (LS-RS).

Source: Zeng, Su and Huang, "Certified Defense via Latent Space Randomized Smoothing with Orthogonal
Encoders" (2021).
"""

import importlib as _importlib
import typing as _typing

import keras as _keras

if _keras.backend.backend() != "tensorflow":
    raise ImportError(
        "lsrs_tf needs Keras on its TensorFlow backend. Received: "
        f"keras.backend.backend() = '{_keras.backend.backend()}'. Set the environment variable "
        "KERAS_BACKEND=tensorflow before Keras is first imported."
    )

from lsrs_tf import (  # noqa: E402  (the backend is checked first)
    callbacks,
    layers,
    losses,
    models,
    training,
)
from lsrs_tf.certification.certificate import (  # noqa: E402
    CertificationResult,
    MarginResult,
    SmoothedResult,
)
from lsrs_tf.certification.certifier import Certifier  # noqa: E402
from lsrs_tf.certification.functions import certify, predict, recertify  # noqa: E402
from lsrs_tf.lipschitz import lipschitz_bound, lipschitz_report  # noqa: E402
from lsrs_tf.version import __version__  # noqa: E402

if _typing.TYPE_CHECKING:
    from lsrs_tf.attacks.functions import attack
    from lsrs_tf.attacks.result import AttackResult
    from lsrs_tf.evaluation.clever import CleverResult, clever

__all__ = [
    "AttackResult",
    "CertificationResult",
    "Certifier",
    "CleverResult",
    "MarginResult",
    "SmoothedResult",
    "__version__",
    "attack",
    "callbacks",
    "certify",
    "clever",
    "layers",
    "lipschitz_bound",
    "lipschitz_report",
    "losses",
    "models",
    "predict",
    "recertify",
    "training",
]


# What estimates or attacks is imported where it is asked for: certificates do not need it.
_LATER = {
    "AttackResult": "lsrs_tf.attacks.result",
    "CleverResult": "lsrs_tf.evaluation.clever",
    "attack": "lsrs_tf.attacks.functions",
    "clever": "lsrs_tf.evaluation.clever",
}


def __getattr__(name):
    """Imports a name of `_LATER`."""
    if name in _LATER:
        return getattr(_importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'lsrs_tf' has no attribute '{name}'")
