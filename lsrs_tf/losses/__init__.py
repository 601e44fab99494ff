"""Losses that train the margins which deterministic certificates need."""

from lsrs_tf.losses.margin_hinge import MarginHinge
from lsrs_tf.losses.offset_crossentropy import OffsetCrossentropy

__all__ = ["MarginHinge", "OffsetCrossentropy"]
