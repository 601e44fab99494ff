"""Keras layers with a known Lipschitz constant, for encoders that carry certificates."""

from lsrs_tf.layers.almost_orthogonal_conv2d import AlmostOrthogonalConv2D
from lsrs_tf.layers.bjorck_conv2d import BjorckConv2D
from lsrs_tf.layers.bjorck_dense import BjorckDense
from lsrs_tf.layers.block_reflector_conv2d import BlockReflectorConv2D
from lsrs_tf.layers.convex_residual import ConvexResidual
from lsrs_tf.layers.exponential_dense import ExponentialDense
from lsrs_tf.layers.fixed_dense import FixedDense
from lsrs_tf.layers.fixed_residual_conv2d import FixedResidualConv2D
from lsrs_tf.layers.fixed_residual_dense import FixedResidualDense
from lsrs_tf.layers.group_sort import GroupSort
from lsrs_tf.layers.householder_activation import HouseholderActivation
from lsrs_tf.layers.invertible_downsampling import InvertibleDownsampling
from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.layers.lipschitz_dense import LipschitzDense
from lsrs_tf.layers.orthogonal_conv2d import OrthogonalConv2D
from lsrs_tf.layers.orthogonal_dense import OrthogonalDense
from lsrs_tf.layers.parametrizations import PARAMETRIZATIONS, convolution
from lsrs_tf.layers.paraunitary_conv2d import ParaunitaryConv2D
from lsrs_tf.layers.scaled_average_pooling2d import ScaledAveragePooling2D
from lsrs_tf.layers.sdp_lipschitz_conv2d import SDPLipschitzConv2D
from lsrs_tf.layers.sdp_lipschitz_dense import SDPLipschitzDense
from lsrs_tf.layers.skew_orthogonal_conv2d import SkewOrthogonalConv2D
from lsrs_tf.layers.sparsemax import Sparsemax
from lsrs_tf.layers.spectral_conv2d import SpectralConv2D
from lsrs_tf.layers.spectral_dense import SpectralDense
from lsrs_tf.layers.spectral_normalized_conv2d import SpectralNormalizedConv2D
from lsrs_tf.layers.standardization import Standardization

__all__ = [
    "PARAMETRIZATIONS",
    "AlmostOrthogonalConv2D",
    "BjorckConv2D",
    "BjorckDense",
    "BlockReflectorConv2D",
    "ConvexResidual",
    "ExponentialDense",
    "FixedDense",
    "FixedResidualConv2D",
    "FixedResidualDense",
    "GroupSort",
    "HouseholderActivation",
    "InvertibleDownsampling",
    "LipschitzConv2D",
    "LipschitzDense",
    "OrthogonalConv2D",
    "OrthogonalDense",
    "ParaunitaryConv2D",
    "SDPLipschitzConv2D",
    "SDPLipschitzDense",
    "ScaledAveragePooling2D",
    "SkewOrthogonalConv2D",
    "Sparsemax",
    "SpectralConv2D",
    "SpectralDense",
    "SpectralNormalizedConv2D",
    "Standardization",
    "convolution",
]
