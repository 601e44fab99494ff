import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.numerics import complex_pairs
from lsrs_tf.numerics.cayley import cayley_matrix
from lsrs_tf.numerics.precision import matmul

# What remains of weights near the identity.
_START_SHARE = 0.1


@keras.saving.register_keras_serializable("lsrs_tf")
class ParaunitaryConv2D(LipschitzConv2D):
    """Convolution whose every singular value is 1, by paraunitary factors (SC-Fac).

    Source: Su, Byeon and Huang, "Scaling-up Diverse Orthogonal Convolutional Networks by a
    Paraunitary Framework" (2021); these are the layers that the LS-RS paper used. The spectrum is
    P(z_height) Q P'(z_width): one orthogonal matrix between paraunitary polynomials, each a product
    of factors I - UU^T + UU^T z with orthonormal columns U, half as many as rows, one factor for
    each tap after the first. Factors of z and 1/z alternate, which centres the kernel. In pixels
    the kernel is separable and no larger than `kernel_size`.

    All orthonormal matrices are Cayley transforms of their weights (the authors use exponentials).

    Arguments, shapes and errors are those of `LipschitzConv2D`.

    Examples:
        >>> values = np.ones((1, 8, 8, 3), "float32")
        >>> layers.ParaunitaryConv2D(6, 3, strides=2)(values).shape
        TensorShape([1, 4, 4, 6])
    """

    def add_kernels(self):
        """Creates `kernel`, and a factor for each further tap: `height_kernel`, `width_kernel`."""
        self.kernel = self.add_kernel((self.channels, self.filters))
        self.height_kernel = self._add_factors("height_kernel", self.kernel_size[0], self.filters)
        self.width_kernel = self._add_factors("width_kernel", self.kernel_size[1], self.channels)

    def _add_factors(self, name, taps, size):
        # A weight without values would be saved and trained in vain.
        return self.add_kernel((taps - 1, size, max(1, size // 2)), name) if taps > 1 else None

    def assign_near_identity(self):
        """Leaves a tenth of `kernel`, and makes two factors of each pair nearly alike.

        The orthogonal matrix is then the Cayley transform of a small matrix. The factors of z and
        of 1/z follow each other, and are the inverse of each other where they have the same
        columns: the second one begins as the first one and a tenth of itself. The norm of the
        layer's map minus the identity is about .8, the relative change of an image about .3.
        """
        if self.kernel_size[0] % 2 == 0 or self.kernel_size[1] % 2 == 0:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' begins near the identity only with a kernel "
                "of odd height and width: with an even number of taps one factor is left without "
                f"its inverse. Received: kernel_size={self.kernel_size}. Change the kernel size, "
                "or use another parametrization."
            )
        self.kernel.assign(_START_SHARE * self.kernel)
        for factors in (self.height_kernel, self.width_kernel):
            if factors is not None:
                first, second = factors[::2], factors[1::2]
                pairs = tf.stack([first, first + _START_SHARE * second], axis=1)
                factors.assign(tf.reshape(pairs, factors.shape))

    def transformed_weights(self, dtype):
        """Returns the orthogonal matrix and the paraunitary polynomials of both directions."""
        height, width = self.image_size
        matrix = cayley_matrix(tf.transpose(tf.cast(self.kernel, dtype)))
        return (
            matrix,
            _polynomial(self.height_kernel, self.filters, np.arange(height) / height, dtype),
            _polynomial(self.width_kernel, self.channels, np.arange(width // 2 + 1) / width, dtype),
        )

    def spectrum_of(self, weights, columns=None):
        """Returns the products of the polynomials at all frequencies with the matrix between."""
        matrix, over_height, over_width = weights
        if columns is not None:
            over_width = tf.gather(over_width, columns)
        real, imaginary = complex_pairs.parts(over_width)
        repeated = tf.broadcast_to(matrix, tf.concat([tf.shape(real)[:1], matrix.shape], axis=0))
        right = complex_pairs.stack(matmul(repeated, real), matmul(repeated, imaginary))
        # One product of matrices for all pairs of frequencies: [height * 2f, 2f] [2f, columns * c].
        left = tf.reshape(complex_pairs.block(over_height), [-1, 2 * self.filters])
        right = tf.reshape(tf.transpose(right, [1, 0, 2]), [2 * self.filters, -1])
        products = tf.reshape(
            matmul(left, right), [self.image_size[0], 2 * self.filters, -1, self.channels]
        )
        return tf.transpose(products, [2, 0, 1, 3])


def _polynomial(kernels, size, turns, dtype):
    """Returns paraunitary polynomials at z = exp(-2 pi i turns), stacked, [turns, 2 * size, size].

    Args:
        kernels: weights [factors, size, rank], or None for no factor.
        size: int.
        turns: float64 array, frequencies as fractions of a whole turn.
        dtype: 'float32' or 'float64'.
    """
    identity = tf.broadcast_to(tf.eye(2 * size, size, dtype=dtype), [turns.size, 2 * size, size])
    if kernels is None:
        return identity
    result = identity
    bases = cayley_matrix(tf.cast(kernels, dtype))
    projectors = matmul(bases, bases, transpose_b=True)
    for index in range(kernels.shape[0]):
        angles = 2 * np.pi * turns * (1 if index % 2 == 0 else -1)
        # I + (z - 1) UU^T
        waves = np.stack([np.cos(angles) - 1, -np.sin(angles)], axis=1)
        waves = tf.constant(waves.reshape(-1, 2, 1, 1), dtype)
        factor = tf.reshape(waves * projectors[index], [-1, 2 * size, size])
        result = complex_pairs.multiply(result, identity + factor)
    return result
