"""Proven upper bounds of Lipschitz constants."""

from lsrs_tf.lipschitz.composition import bounded_by_encoder, lipschitz_bound, lipschitz_report

__all__ = ["bounded_by_encoder", "lipschitz_bound", "lipschitz_report"]
