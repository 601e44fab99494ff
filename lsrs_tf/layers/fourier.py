"""Two-dimensional real Fourier transforms of activations, as products of real matrices.

At the sizes of feature maps two small matrix products are faster than the FFT kernels, and they
land in the layout in which a convolution is one matrix product per frequency. Complex numbers are
held as pairs of real ones, along an axis written (re, im).
"""

import numpy as np
import tensorflow as tf


def to_frequencies(images):
    """Transforms real images to the half spectrum.

    Args:
        images: real tensor [batch, height, width, channels].

    Returns:
        Real tensor [height, width // 2 + 1, (re, im) * channels, batch].
    """
    height, width, channels = images.shape[1:]
    batch = tf.shape(images)[0]
    columns = width // 2 + 1
    cosines, sines = _waves(height, height)
    # Real rows to complex rows: [height * (re, im), height].
    over_rows = np.stack([cosines, -sines], axis=1).reshape(2 * height, height)
    cosines, sines = _waves(columns, width)
    # Complex columns to complex columns: [columns * (re, im), (re, im) * width].
    over_columns = np.stack(
        [np.concatenate([cosines, sines], axis=1), np.concatenate([-sines, cosines], axis=1)],
        axis=1,
    ).reshape(2 * columns, 2 * width)
    values = tf.reshape(tf.transpose(images, [1, 2, 3, 0]), [height, width * channels * batch])
    values = tf.matmul(tf.constant(over_rows, images.dtype), values)
    values = tf.reshape(values, [height, 2 * width, channels * batch])
    values = tf.matmul(tf.constant(over_columns, images.dtype), values)
    return tf.reshape(values, [height, columns, 2 * channels, batch])


def to_images(frequencies, width):
    """Inverts `to_frequencies`.

    As in every inverse real transform, imaginary parts that a real image could not have had (at
    frequency zero and at the Nyquist frequency) are dropped.

    Args:
        frequencies: real tensor [height, width // 2 + 1, (re, im) * channels, batch].
        width: width of the images in pixels; the half spectrum alone does not tell odd from even.

    Returns:
        Real tensor [batch, height, width, channels].
    """
    height, columns = frequencies.shape[:2]
    channels = frequencies.shape[2] // 2
    batch = tf.shape(frequencies)[3]
    # A column that stands for itself and for its mirror image counts twice.
    counts = np.full(columns, 2.0)
    counts[0] = 1.0
    if width % 2 == 0:
        counts[-1] = 1.0
    cosines, sines = (waves * counts / width for waves in _waves(width, columns, period=width))
    # Complex columns to complex columns: [(re, im) * width, columns * (re, im)].
    over_columns = np.concatenate(
        [
            np.stack([cosines, -sines], axis=2).reshape(width, 2 * columns),
            np.stack([sines, cosines], axis=2).reshape(width, 2 * columns),
        ]
    )
    cosines, sines = _waves(height, height)
    # Complex rows to real rows: [height, height * (re, im)].
    over_rows = np.stack([cosines, -sines], axis=2).reshape(height, 2 * height) / height
    values = tf.reshape(frequencies, [height, 2 * columns, channels * batch])
    values = tf.matmul(tf.constant(over_columns, frequencies.dtype), values)
    values = tf.reshape(values, [2 * height, width * channels * batch])
    values = tf.matmul(tf.constant(over_rows, frequencies.dtype), values)
    return tf.transpose(tf.reshape(values, [height, width, channels, batch]), [3, 0, 1, 2])


def _waves(rows, columns, period=None):
    """Returns cosine and sine of 2 pi row * column / period; the period defaults to columns."""
    period = period or columns
    # Reduced in whole numbers first, so that large products lose no digits.
    turns = np.outer(np.arange(rows), np.arange(columns)) % period / period
    return np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
