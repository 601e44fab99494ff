import math

import keras
import tensorflow as tf

from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.layers.near_identity import GAIN_SHARE
from lsrs_tf.layers.weighted_layer import scaled_kernel
from lsrs_tf.numerics import complex_pairs
from lsrs_tf.numerics.orthogonalization import STACKED
from lsrs_tf.numerics.spectrum import kernel_spectrum

# Spectral norm of half the skew matrix whose exponential series is summed.
_RADIUS = math.pi / 2
# Highest powers, one less than a multiple of four; see `truncation_error`.
_DEGREES = {"float32": 15, "float64": 23}


@keras.saving.register_keras_serializable("lsrs_tf")
class SkewOrthogonalConv2D(LipschitzConv2D):
    """Convolution whose every singular value is 1, by the exponential of a skew matrix (SOC).

    Source: Singla and Feizi, "Skew Orthogonal Convolutions" (2021). The spectrum W of the kernel
    gives the skew-Hermitian A = W - W*, whose exponential is orthogonal. It is summed as a series
    in the Fourier domain (the authors do it in pixels): the norm of A is kept below pi (larger
    angles of rotation repeat smaller ones), the series is that of A / 2, and the result is squared,
    so that leaving out all further terms changes it by less than `2.5 * truncation_error(degree)`:
    2e-10 in float32, 3e-19 in float64.

    With unequal numbers of inputs and outputs the exponential has the larger size, and the rows or
    columns that are too many are cut off.

    Arguments, shapes and errors are those of `LipschitzConv2D`.

    Examples:
        >>> values = np.ones((1, 8, 8, 3), "float32")
        >>> layers.SkewOrthogonalConv2D(6, 3, strides=2)(values).shape
        TensorShape([1, 4, 4, 6])
    """

    def add_kernels(self):
        """Creates `kernel` and `gain`."""
        size = max(self.channels, self.filters)
        self.kernel = self.add_kernel((*self.kernel_size, size, size))
        self.gain = self.add_gain(size)

    def assign_near_identity(self):
        """Leaves a fifth of `gain`, so that the exponential is that of a small matrix.

        The relative change of an image is about .2, and the norm of the layer's map minus the
        identity about .3, for random kernels of any number of channels.
        """
        self.gain.assign(GAIN_SHARE * self.gain)

    def transformed_weights(self, dtype):
        """Returns the scaled kernel."""
        return (scaled_kernel(self.kernel, self.gain, dtype),)

    def spectrum_of(self, weights, columns=None):
        """Returns the exponential of the skew part of the kernel's spectrum."""
        (kernel,) = weights
        matrices = kernel_spectrum(kernel, *self.image_size, columns)
        exponential = exponential_of_skew(matrices - complex_pairs.adjoint(matrices))
        return complex_pairs.cut(exponential, self.filters, self.channels)


def truncation_error(degree):
    """Bounds the spectral norm of all terms beyond A^degree / degree! for norm(A) <= pi / 2.

    The terms fall at least as fast as a geometric series of the ratio (pi / 2) / (degree + 2).
    """
    first = _RADIUS ** (degree + 1) / math.factorial(degree + 1)
    return first / (1 - _RADIUS / (degree + 2))


def exponential_of_skew(skew, algebra=STACKED):
    """Returns the exponential of skew-Hermitian matrices, limited to a norm of pi.

    Args:
        skew: matrices of the algebra, [..., 2 * size, size] if stacked.
        algebra: that of `numerics.orthogonalization`.

    Returns:
        Unitary matrices of the same shape and dtype.
    """
    square = algebra.multiply(skew, skew)
    fourth = algebra.multiply(square, square)
    # norm(A)^8 = norm(A^4)^2, and the Frobenius norm is an upper bound of the spectral one.
    eighth_power = tf.reduce_sum(fourth**2, axis=(-2, -1), keepdims=True)
    limit = tf.constant(math.pi**8, skew.dtype)
    shrink = (tf.maximum(eighth_power, limit) / limit) ** (-1 / 8)
    half = shrink / 2
    powers = [
        algebra.identity_like(skew),
        half * skew,
        half**2 * square,
        half**3 * algebra.multiply(square, skew),
    ]
    fourth = half**4 * fourth
    total = None
    for first in range(_DEGREES[skew.dtype.name] - 3, -1, -4):
        terms = sum(power / math.factorial(first + index) for index, power in enumerate(powers))
        total = terms if total is None else terms + algebra.multiply(fourth, total)
    return algebra.multiply(total, total)
