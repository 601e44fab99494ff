"""Losses that train the margins which deterministic certificates need."""

from lsrs_tf.losses.certificate_regularized_crossentropy import CertificateRegularizedCrossentropy
from lsrs_tf.losses.emma import EMMA
from lsrs_tf.losses.lipschitz_margin_crossentropy import LipschitzMarginCrossentropy
from lsrs_tf.losses.margin_hinge import MarginHinge
from lsrs_tf.losses.offset_crossentropy import OffsetCrossentropy
from lsrs_tf.losses.smoothed_crossentropy import SmoothedCrossentropy

__all__ = [
    "EMMA",
    "CertificateRegularizedCrossentropy",
    "LipschitzMarginCrossentropy",
    "MarginHinge",
    "OffsetCrossentropy",
    "SmoothedCrossentropy",
]
