"""Circular convolutions of a few images, each of which is transformed and multiplied by itself.

The layout of `numerics.fourier` has the images innermost: right for many of them, but a transpose
to single numbers for a few. Here they are outside. Every image goes through products of one shape,
whatever the number of images: with a matrix that all share, or as a vector. So the values of an
image do not depend on how many others there are, as far as kernels of equal shapes sum alike;
`lsrs_tf.sampling.encoding` checks that.
"""

import tensorflow as tf

from lsrs_tf.numerics import fourier
from lsrs_tf.numerics.precision import matmul, tf32_is_possible

# With more images one matrix product for each frequency is as fast as one for each vector.
FEW = 16


def are_few(images):
    """Returns whether images, a tensor [batch, ...], are known to be few enough."""
    batch = images.shape[0]
    return batch is not None and 0 < batch <= FEW and not tf32_is_possible(images.dtype)


def convolved(images, spectrum):
    """Convolves images circularly with the convolution of the given spectrum.

    Args:
        images: real tensor [batch, height, width, channels].
        spectrum: real tensor [width // 2 + 1, height, 2 * filters, channels].

    Returns:
        Real tensor [batch, height, width, filters].
    """
    columns = columns_of(images)
    return images_of(convolved_columns(columns, spectrum), images.shape[2])


def multiplied(images, matrix):
    """Multiplies the channels of all pixels by a matrix.

    Args:
        images: real tensor [batch, height, width, channels].
        matrix: real tensor [filters, channels].

    Returns:
        Real tensor [batch, height, width, filters].
    """
    batch, height, width, channels = images.shape
    pixels = tf.reshape(images, [batch, height * width, channels])
    outputs = tf.matmul(pixels, tf.linalg.matrix_transpose(matrix))
    return tf.reshape(outputs, [batch, height, width, matrix.shape[0]])


def columns_of(images):
    """Transforms images along their width.

    Args:
        images: real tensor [batch, height, width, channels].

    Returns:
        Real tensor [width // 2 + 1, batch, (re, im) * height, channels].
    """
    batch, height, width, channels = images.shape
    waves = tf.constant(fourier.width_waves(width), images.dtype)
    values = tf.reshape(tf.transpose(images, [0, 2, 1, 3]), [batch, width, height * channels])
    values = tf.reshape(tf.matmul(waves, values), [batch, -1, 2 * height, channels])
    return tf.transpose(values, [1, 0, 2, 3])


def images_of(columns, width):
    """Inverts `columns_of`.

    Args:
        columns: real tensor [width // 2 + 1, batch, (re, im) * height, channels].
        width: width of the images in pixels.

    Returns:
        Real tensor [batch, height, width, channels].
    """
    _, batch, twice_height, channels = columns.shape
    height = twice_height // 2
    waves = tf.constant(fourier.inverse_width_waves(width), columns.dtype)
    values = tf.reshape(tf.transpose(columns, [1, 0, 2, 3]), [batch, -1, height * channels])
    values = tf.reshape(tf.matmul(waves, values), [batch, width, height, channels])
    return tf.transpose(values, [0, 2, 1, 3])


def convolved_columns(columns, spectrum):
    """Convolves some columns of the half spectrum of images.

    Args:
        columns: real tensor [columns, batch, (re, im) * height, channels], see `columns_of`.
        spectrum: real tensor [columns, height, 2 * filters, channels].

    Returns:
        Real tensor [columns, batch, (re, im) * height, filters].
    """
    count, batch, twice_height, channels = columns.shape
    height, filters = twice_height // 2, spectrum.shape[2] // 2
    waves = tf.constant(fourier.height_waves(height), columns.dtype)
    values = tf.reshape(tf.matmul(waves, columns), [count, batch, height, 2 * channels])
    vectors = tf.reshape(tf.transpose(values, [0, 2, 1, 3]), [count, height, 2 * batch, channels])
    products = _products(spectrum, vectors)
    # Real and imaginary part of the vector, then those of the matrix.
    products = tf.reshape(products, [count, height, batch, 2, 2 * filters])
    by_real, by_imaginary = tf.unstack(products, axis=3)
    turned = tf.concat([-by_imaginary[..., filters:], by_imaginary[..., :filters]], axis=-1)
    values = tf.transpose(by_real + turned, [0, 2, 1, 3])
    values = tf.reshape(values, [count, batch, twice_height, filters])
    waves = tf.constant(fourier.inverse_height_waves(height), columns.dtype)
    return tf.matmul(waves, values)


@tf.custom_gradient
def _products(matrices, vectors):
    """Multiplies each matrix [..., rows, inner] with its vectors [..., vectors, inner].

    A matrix is read once, and is near the processor for all but the first of its vectors.

    Returns:
        Tensor [..., vectors, rows].
    """
    products = tf.matmul(matrices[..., tf.newaxis, :, :], vectors[..., tf.newaxis])[..., 0]

    def gradient(upstream):
        # Not those of the products of vectors, which would hold a matrix for each of them.
        return matmul(upstream, vectors, transpose_a=True), matmul(upstream, matrices)

    return products, gradient
