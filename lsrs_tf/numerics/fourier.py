"""Two-dimensional real Fourier transforms of activations, as products of real matrices.

At the sizes of feature maps two small matrix products are faster than the FFT kernels, and they
land in the layout in which a convolution is one matrix product per frequency: frequencies first,
columns (the half spectrum of the width) before rows. Complex numbers are held as pairs of real
ones, along an axis written (re, im).
"""

import numpy as np
import tensorflow as tf

from lsrs_tf.numerics.precision import constant_matmul


def to_frequencies(images):
    """Transforms real images to the half spectrum.

    Args:
        images: real tensor [batch, height, width, channels].

    Returns:
        Real tensor [width // 2 + 1, height, (re, im) * channels, batch].
    """
    return height_to_frequencies(width_to_frequencies(images), images.shape[3])


def to_images(frequencies, width):
    """Inverts `to_frequencies`.

    As in every inverse real transform, imaginary parts that a real image could not have had (at
    frequency zero and at the Nyquist frequency) are dropped.

    Args:
        frequencies: real tensor [width // 2 + 1, height, (re, im) * channels, batch].
        width: width of the images in pixels; the half spectrum alone does not tell odd from even.

    Returns:
        Real tensor [batch, height, width, channels].
    """
    return width_to_images(height_to_images(frequencies), width, frequencies.shape[2] // 2)


def width_to_frequencies(images):
    """Transforms images along their width.

    Args:
        images: real tensor [batch, height, width, channels].

    Returns:
        Real tensor [width // 2 + 1, (re, im) * height, channels * batch].
    """
    height, width, channels = images.shape[1:]
    columns = width // 2 + 1
    values = tf.reshape(tf.transpose(images, [2, 1, 3, 0]), [width, -1])
    values = constant_matmul(tf.constant(width_waves(width), images.dtype), values)
    return tf.reshape(values, [columns, 2 * height, channels * tf.shape(images)[0]])


def height_to_frequencies(values, channels):
    """Transforms some columns of what `width_to_frequencies` returns along the height.

    Args:
        values: real tensor [columns, (re, im) * height, channels * batch].
        channels: int.

    Returns:
        Real tensor [columns, height, (re, im) * channels, batch].
    """
    height = values.shape[1] // 2
    values = constant_matmul(tf.constant(height_waves(height), values.dtype), values)
    batch = tf.shape(values)[2] // channels
    return tf.reshape(values, [tf.shape(values)[0], height, 2 * channels, batch])


def height_to_images(frequencies):
    """Inverts `height_to_frequencies`.

    Args:
        frequencies: real tensor [columns, height, (re, im) * channels, batch].

    Returns:
        Real tensor [columns, (re, im) * height, channels * batch].
    """
    height, channels = frequencies.shape[1], frequencies.shape[2] // 2
    batch = tf.shape(frequencies)[3]
    values = tf.reshape(frequencies, [tf.shape(frequencies)[0], 2 * height, channels * batch])
    return constant_matmul(tf.constant(inverse_height_waves(height), frequencies.dtype), values)


def width_to_images(values, width, channels):
    """Inverts `width_to_frequencies`.

    Args:
        values: real tensor [width // 2 + 1, (re, im) * height, channels * batch].
        width: width of the images in pixels.
        channels: int.

    Returns:
        Real tensor [batch, height, width, channels].
    """
    columns, height = width // 2 + 1, values.shape[1] // 2
    batch = tf.shape(values)[2] // channels
    values = tf.reshape(values, [2 * columns, height * channels * batch])
    values = constant_matmul(tf.constant(inverse_width_waves(width), values.dtype), values)
    return tf.transpose(tf.reshape(values, [width, height, channels, batch]), [3, 1, 0, 2])


def width_waves(width):
    """Returns the Fourier matrix of the half spectrum, [(columns, (re, im)), width], NumPy."""
    columns = width // 2 + 1
    cosines, sines = _waves(columns, width)
    return np.stack([cosines, -sines], axis=1).reshape(2 * columns, width)


def inverse_width_waves(width):
    """Returns the matrix that inverts `width_waves`, [width, (columns, (re, im))]."""
    columns = width // 2 + 1
    # A column that stands for itself and for its mirror image counts twice.
    counts = np.full(columns, 2.0)
    counts[0] = 1.0
    if width % 2 == 0:
        counts[-1] = 1.0
    cosines, sines = (waves * counts / width for waves in _waves(width, columns, period=width))
    return np.stack([cosines, -sines], axis=2).reshape(width, 2 * columns)


def height_waves(height):
    """Returns the Fourier matrix of complex columns, [(rows, (re, im)), ((re, im), height)]."""
    cosines, sines = _waves(height, height)
    return np.stack(
        [np.concatenate([cosines, sines], axis=1), np.concatenate([-sines, cosines], axis=1)],
        axis=1,
    ).reshape(2 * height, 2 * height)


def inverse_height_waves(height):
    """Returns the matrix that inverts `height_waves`, [((re, im), height), (rows, (re, im))]."""
    cosines, sines = (waves / height for waves in _waves(height, height))
    return np.concatenate(
        [
            np.stack([cosines, -sines], axis=2).reshape(height, 2 * height),
            np.stack([sines, cosines], axis=2).reshape(height, 2 * height),
        ]
    )


def _waves(rows, columns, period=None):
    """Returns cosine and sine of 2 pi row * column / period; the period defaults to columns.

    They are off by less than 4 units of 2^-53, which the bounds of rounding rest on.
    """
    period = period or columns
    # In whole numbers, so that large products lose no digits: quarters of a turn, and what is left,
    # at most an eighth of a turn.
    fourths = 4 * (np.outer(np.arange(rows), np.arange(columns)) % period)
    quarter = (fourths + period // 2) // period
    angles = np.pi / 2 * ((fourths - quarter * period) / period)
    cosines, sines = np.cos(angles), np.sin(angles)
    turned = [cosines, -sines, -cosines, sines]
    return np.choose(quarter % 4, turned), np.choose((quarter + 3) % 4, turned)
