"""Proven upper bounds of Lipschitz constants."""

from lsrs_tf.lipschitz.composition import bounded_by_encoder, lipschitz_bound, lipschitz_report
from lsrs_tf.lipschitz.layer_bound import LayerBound
from lsrs_tf.lipschitz.registry import bound_rule

__all__ = ["LayerBound", "bound_rule", "bounded_by_encoder", "lipschitz_bound", "lipschitz_report"]
