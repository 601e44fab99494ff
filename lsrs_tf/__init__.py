"""Certified image classifiers by latent space randomized smoothing (LS-RS).

Source: Zeng, Su and Huang, "Certified Defense via Latent Space Randomized Smoothing with Orthogonal
Encoders" (2021).
"""

import typing as _typing

import keras as _keras

if _keras.backend.backend() != "tensorflow":
    raise ImportError(
        "lsrs_tf needs Keras on its TensorFlow backend. Received: "
        f"keras.backend.backend() = '{_keras.backend.backend()}'. Set the environment variable "
        "KERAS_BACKEND=tensorflow before Keras is first imported."
    )

from lsrs_tf import callbacks, layers, losses, models  # noqa: E402  (the backend is checked first)
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
    from lsrs_tf.evaluation.clever import CleverResult, clever

__all__ = [
    "CertificationResult",
    "Certifier",
    "CleverResult",
    "MarginResult",
    "SmoothedResult",
    "__version__",
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
]


def __getattr__(name):
    """Imports what estimates only where it is asked for: certificates do not need it."""
    if name in ("CleverResult", "clever"):
        from lsrs_tf.evaluation import clever as estimates

        return getattr(estimates, name)
    raise AttributeError(f"module 'lsrs_tf' has no attribute '{name}'")
