"""Cayley transform of circular convolutions in the Fourier domain, as pure functions.

Source: Trockman and Kolter, "Orthogonalizing Convolutional Layers with the Cayley Transform"
(2021), sections 3 and 4; equations 10 and 11 of the LS-RS paper (Zeng, Su, Huang 2021).

A circular convolution of an image [H, W] acts on each spatial frequency as one matrix
[filters, channels]. These matrices, kept for the half spectrum that a real kernel needs
(H * (W // 2 + 1) of them), are called the *spectrum* here. A convolution is orthogonal exactly when
every matrix of its spectrum is.
"""

import tensorflow as tf

from lsrs_tf.layers import fourier


def kernel_spectrum(kernel, height, width):
    """Returns the spectrum of a convolution kernel that is centred on its pixel.

    The kernel is centred by a whole number of pixels: a shift by half a pixel would make the
    transfer matrices at the Nyquist frequency complex, and the convolution no longer real.

    Args:
        kernel: real tensor [kernel_height, kernel_width, channels, filters].
        height: image height in pixels, at least kernel_height.
        width: image width in pixels, at least kernel_width.

    Returns:
        Complex tensor [height, width // 2 + 1, filters, channels].
    """
    kernel_height, kernel_width = kernel.shape[0], kernel.shape[1]
    padded = tf.pad(
        tf.transpose(kernel, [3, 2, 0, 1]),
        [[0, 0], [0, 0], [0, height - kernel_height], [0, width - kernel_width]],
    )
    centred = tf.roll(
        padded, shift=[-((kernel_height - 1) // 2), -((kernel_width - 1) // 2)], axis=[2, 3]
    )
    return tf.transpose(tf.signal.rfft2d(centred), [2, 3, 0, 1])


def cayley(matrices):
    """Maps any matrices to semi-orthogonal (real) or semi-unitary (complex) ones.

    For a square matrix W this is Q = (I - A)(I + A)^-1 with A = W - W*. For a tall one, W = [U; V],
    A = U - U* + V*V and Q = [(I - A)(I + A)^-1; -2 V (I + A)^-1]. A wide matrix is transformed
    through its adjoint. Tall and square results have orthonormal columns, wide ones orthonormal
    rows.

    The gradient is written out in terms of (I + A)^-1, so that it needs no second solve and
    stores one square matrix per input matrix.

    Args:
        matrices: real or complex tensor [..., rows, columns].

    Returns:
        Tensor of the same shape and dtype.
    """
    rows, columns = matrices.shape[-2], matrices.shape[-1]
    if rows >= columns:
        return _cayley_tall(matrices)
    return tf.linalg.adjoint(_cayley_tall(tf.linalg.adjoint(matrices)))


@tf.custom_gradient
def _cayley_tall(matrices):
    columns = matrices.shape[-1]
    square, rest = matrices[..., :columns, :], matrices[..., columns:, :]
    skew = square - tf.linalg.adjoint(square)
    if rest.shape[-2]:
        skew = skew + tf.matmul(rest, rest, adjoint_a=True)
    # Every singular value of I + A is at least 1, because the Hermitian part of A is positive
    # semidefinite: the inverse always exists and its norm is at most 1.
    inverse = _inverse_of_identity_plus(skew)
    # (I - A)(I + A)^-1 = 2 (I + A)^-1 - I.
    top = 2 * inverse - tf.eye(columns, dtype=matrices.dtype)
    result = tf.concat([top, -2 * tf.matmul(rest, inverse)], axis=-2) if rest.shape[-2] else top

    def gradient(upstream):
        upstream_top, upstream_rest = upstream[..., :columns, :], upstream[..., columns:, :]
        by_inverse = 2 * upstream_top
        if rest.shape[-2]:
            by_inverse -= 2 * tf.matmul(rest, upstream_rest, adjoint_a=True)
        # d(I + A)^-1 = -(I + A)^-1 dA (I + A)^-1
        by_skew = -tf.matmul(
            tf.matmul(inverse, by_inverse, adjoint_a=True), inverse, adjoint_b=True
        )
        by_square = by_skew - tf.linalg.adjoint(by_skew)
        if not rest.shape[-2]:
            return by_square
        by_rest = -2 * tf.matmul(upstream_rest, inverse, adjoint_b=True) + tf.matmul(
            rest, by_skew + tf.linalg.adjoint(by_skew)
        )
        return tf.concat([by_square, by_rest], axis=-2)

    return result, gradient


def _inverse_of_identity_plus(matrices):
    """Inverts I + A through a real solve, the only one that XLA compiles."""
    columns = matrices.shape[-1]
    if not matrices.dtype.is_complex:
        identity = tf.eye(columns, dtype=matrices.dtype)
        return tf.linalg.solve(identity + matrices, tf.broadcast_to(identity, matrices.shape))
    real, imaginary = tf.math.real(matrices), tf.math.imag(matrices)
    real += tf.eye(columns, dtype=real.dtype)
    block = tf.concat(
        [tf.concat([real, -imaginary], axis=-1), tf.concat([imaginary, real], axis=-1)], axis=-2
    )
    first_columns = tf.eye(2 * columns, columns, dtype=real.dtype)
    solution = tf.linalg.solve(block, tf.broadcast_to(first_columns, [*block.shape[:-1], columns]))
    return tf.complex(solution[..., :columns, :], solution[..., columns:, :])


def stack_spectrum(spectrum):
    """Stacks the real part of a spectrum on its imaginary part, so that it is one real tensor.

    Args:
        spectrum: complex tensor [height, half_width, filters, channels].

    Returns:
        Real tensor [height, half_width, 2 * filters, channels].
    """
    return tf.concat([tf.math.real(spectrum), tf.math.imag(spectrum)], axis=-2)


def apply_stacked_spectrum(images, stacked_spectrum):
    """Convolves images circularly with the convolution of the given spectrum.

    Args:
        images: real tensor [batch, height, width, channels].
        stacked_spectrum: real tensor [height, width // 2 + 1, 2 * filters, channels], as made by
            `stack_spectrum`, of the dtype of the images.

    Returns:
        Real tensor [batch, height, width, filters].
    """
    filters = stacked_spectrum.shape[-2] // 2
    real, imaginary = stacked_spectrum[..., :filters, :], stacked_spectrum[..., filters:, :]
    # The complex product, written as one real product of blocks.
    block = tf.concat(
        [tf.concat([real, -imaginary], axis=-1), tf.concat([imaginary, real], axis=-1)], axis=-2
    )
    frequencies = tf.matmul(block, fourier.to_frequencies(images))
    return fourier.to_images(frequencies, images.shape[2])
