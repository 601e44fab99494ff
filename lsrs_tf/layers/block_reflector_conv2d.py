import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.layers.near_identity import assign_centre, differences_in_pairs
from lsrs_tf.layers.weighted_layer import scaled_kernel
from lsrs_tf.numerics import complex_pairs
from lsrs_tf.numerics.precision import matmul
from lsrs_tf.numerics.spectrum import kernel_spectrum

# Far below the squared norm of a normalized kernel at any frequency.
_SMALLEST_TRACE = 1e-12


@keras.saving.register_keras_serializable("lsrs_tf")
class BlockReflectorConv2D(LipschitzConv2D):
    """Convolution whose every singular value is 1, by a block reflector of low rank (BRO).

    Source: Lai et al., "Enhancing Certified Robustness via Block Reflector Orthogonal Layers and
    Logit Annealing Loss" (ICML 2025). The spectrum V of a kernel with a quarter as many columns
    as rows gives Q = I - 2 V (V*V)^-1 V*, the reflection at the complement of its columns.

    With unequal numbers of inputs and outputs the reflector has the larger size, and the rows or
    columns that are too many are cut off.

    Arguments, shapes and errors are those of `LipschitzConv2D`.

    Examples:
        >>> values = np.ones((1, 8, 8, 3), "float32")
        >>> layers.BlockReflectorConv2D(6, 3, strides=2)(values).shape
        TensorShape([1, 4, 4, 6])
    """

    def add_kernels(self):
        """Creates `kernel`."""
        size = max(self.channels, self.filters)
        self.kernel = self.add_kernel((*self.kernel_size, max(1, size // 4), size))

    def assign_near_identity(self):
        """Assigns an exchange of neighbouring channels, which a `GroupSort` behind it takes back.

        A reflector has the eigenvalue -1 on a quarter of the directions, and is never near the
        identity. Here these directions are the differences of the first channels, pair by pair, so
        that the layer exchanges the channels of half of the pairs. `GroupSort` of the exchanged
        channels is that of the channels: behind it nothing is changed but by the noise. With noise
        of norm e = .02 the norm of the layer's map minus the exchange is at most sqrt(2) e, below
        .03.
        """
        size = self.filters
        if size < 2:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' of one channel is -1 at every frequency, and "
                f"has no start near the identity. Received: filters={size}. Use two channels or "
                "more, or another parametrization."
            )
        assign_centre(self.kernel, differences_in_pairs(size, self.kernel.shape[2]).T)

    def transformed_weights(self, dtype):
        """Returns the kernel, scaled to the norm 1."""
        return (scaled_kernel(self.kernel, 1.0, dtype),)

    def spectrum_of(self, weights, columns=None):
        """Returns the block reflectors of the kernel's spectrum."""
        (kernel,) = weights
        reflectors = block_reflector(kernel_spectrum(kernel, *self.image_size, columns))
        return complex_pairs.cut(reflectors, self.filters, self.channels)


def block_reflector(spectrum):
    """Returns I - 2 P for the orthogonal projectors P on the columns of complex matrices.

    Args:
        spectrum: stacked matrices [..., 2 * rows, columns], see `complex_pairs`, of full rank.
            Where the rank is not full the result still has no singular value above 1.

    Returns:
        Stacked matrices [..., 2 * rows, rows] of the same dtype.
    """
    rows = spectrum.shape[-2] // 2
    vectors = complex_pairs.block(spectrum)
    gram = matmul(vectors, vectors, transpose_a=True)
    size = gram.shape[-1]
    # A shift at the level of rounding lets the factorization succeed for any rank.
    shift = 8 * size * np.finfo(gram.dtype.as_numpy_dtype).eps
    # Matrices that are nearly zeros have an inverse, too, and finite gradients.
    trace = tf.maximum(tf.linalg.trace(gram), _SMALLEST_TRACE)
    shift = shift * trace[..., tf.newaxis, tf.newaxis] / size
    factor = tf.linalg.cholesky(gram + shift * tf.eye(size, dtype=gram.dtype))
    basis = tf.linalg.triangular_solve(factor, tf.linalg.matrix_transpose(vectors))
    # The basis is orthonormal but for shift and rounding: its Gram matrix is I + E. The projector
    # needs the inverse of that, and (I - E)(I + E^2) is off by E^4 only.
    identity = tf.eye(size, dtype=gram.dtype)
    excess = matmul(basis, basis, transpose_b=True) - identity
    correction = matmul(identity - excess, identity + matmul(excess, excess))
    projector = matmul(basis, matmul(correction, basis[..., :rows]), transpose_a=True)
    return tf.eye(2 * rows, rows, dtype=gram.dtype) - 2 * projector
