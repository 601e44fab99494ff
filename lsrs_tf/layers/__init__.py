"""Keras layers with a known Lipschitz constant, for encoders that carry certificates."""

from lsrs_tf.layers.convex_residual import ConvexResidual
from lsrs_tf.layers.fixed_dense import FixedDense
from lsrs_tf.layers.group_sort import GroupSort
from lsrs_tf.layers.invertible_downsampling import InvertibleDownsampling
from lsrs_tf.layers.orthogonal_conv2d import OrthogonalConv2D
from lsrs_tf.layers.orthogonal_dense import OrthogonalDense
from lsrs_tf.layers.spectral_conv2d import SpectralConv2D
from lsrs_tf.layers.standardization import Standardization

__all__ = [
    "ConvexResidual",
    "FixedDense",
    "GroupSort",
    "InvertibleDownsampling",
    "OrthogonalConv2D",
    "OrthogonalDense",
    "SpectralConv2D",
    "Standardization",
]
