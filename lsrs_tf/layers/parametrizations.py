"""The convolutions of this package by the names that the literature gives them."""

from lsrs_tf.layers.almost_orthogonal_conv2d import AlmostOrthogonalConv2D
from lsrs_tf.layers.bjorck_conv2d import BjorckConv2D
from lsrs_tf.layers.block_reflector_conv2d import BlockReflectorConv2D
from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.layers.orthogonal_conv2d import OrthogonalConv2D
from lsrs_tf.layers.paraunitary_conv2d import ParaunitaryConv2D
from lsrs_tf.layers.sdp_lipschitz_conv2d import SDPLipschitzConv2D
from lsrs_tf.layers.skew_orthogonal_conv2d import SkewOrthogonalConv2D
from lsrs_tf.layers.spectral_normalized_conv2d import SpectralNormalizedConv2D

PARAMETRIZATIONS: dict[str, type[LipschitzConv2D]] = {
    "cayley": OrthogonalConv2D,
    "scfac": ParaunitaryConv2D,
    "soc": SkewOrthogonalConv2D,
    "bro": BlockReflectorConv2D,
    "aol": AlmostOrthogonalConv2D,
    "sll": SDPLipschitzConv2D,
    "bjorck": BjorckConv2D,
    "spectral": SpectralNormalizedConv2D,
}


def convolution(parametrization: str) -> type[LipschitzConv2D]:
    """Returns the class of convolutions of a parametrization.

    All classes take the arguments of `LipschitzConv2D`; their attribute `orthogonal` tells those
    whose singular values are all 1 from those where they are at most 1.

    Args:
        parametrization: 'cayley', 'scfac', 'soc', 'bro', 'aol', 'sll', 'bjorck' or 'spectral'.

    Raises:
        ValueError: if there is no such parametrization.

    Examples:
        >>> layers.convolution("soc").__name__
        'SkewOrthogonalConv2D'
    """
    if not isinstance(parametrization, str) or parametrization not in PARAMETRIZATIONS:
        raise ValueError(
            f"`parametrization` must be one of {', '.join(PARAMETRIZATIONS)}. "
            f"Received: {parametrization!r}"
        )
    return PARAMETRIZATIONS[parametrization]
