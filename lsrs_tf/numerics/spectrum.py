"""Spectra: circular convolutions as one matrix for each spatial frequency.

A circular convolution of an image [height, width] acts on each frequency as one complex matrix
[filters, channels]. Those of the half spectrum that a real kernel needs, stacked as in
`complex_pairs`, are called its *spectrum* here: a real tensor [width // 2 + 1, height,
2 * filters, channels]. The norm of the convolution is the largest norm of these matrices, and it is
orthogonal exactly when all of them are.
"""

import tensorflow as tf

from lsrs_tf.numerics import complex_pairs, few_images, fourier
from lsrs_tf.numerics.precision import constant_matmul, matmul


def centre_of_kernel(kernel_height, kernel_width):
    """Returns the row and column of the tap that a kernel has at its pixel, see `kernel_spectrum`.

    Args:
        kernel_height: int.
        kernel_width: int.
    """
    return (kernel_height - 1) // 2, (kernel_width - 1) // 2


def kernel_spectrum(kernel, height, width, columns=None):
    """Returns the spectrum of a convolution kernel that is centred on its pixel.

    The kernel is centred by a whole number of pixels: a shift by half a pixel would make the
    matrices at the Nyquist frequency complex, and the convolution no longer real.

    Args:
        kernel: real tensor [kernel_height, kernel_width, channels, filters].
        height: image height in pixels, at least kernel_height.
        width: image width in pixels, at least kernel_width.
        columns: int tensor of columns of the half spectrum, or None for all of them.

    Returns:
        Real tensor [columns, height, 2 * filters, channels].
    """
    kernel_height, kernel_width, channels, filters = kernel.shape
    waves = _waves_of_taps(kernel_height, kernel_width, height, width, columns)
    taps = tf.reshape(tf.transpose(kernel, [0, 1, 3, 2]), [-1, filters * channels])
    # The Fourier transform is linear: that of the kernel is the sum over its taps.
    values = constant_matmul(tf.cast(waves, kernel.dtype), taps)
    return tf.reshape(values, [-1, height, 2 * filters, channels])


def _waves_of_taps(kernel_height, kernel_width, height, width, columns):
    """Returns the transforms of single pixels of 1, [columns * height * (re, im), taps]."""
    taps = kernel_height * kernel_width
    pixels = tf.reshape(
        tf.eye(taps, dtype=tf.float64), [kernel_height, kernel_width, kernel_height, kernel_width]
    )
    pixels = tf.pad(
        pixels, [[0, 0], [0, 0], [0, height - kernel_height], [0, width - kernel_width]]
    )
    centre = centre_of_kernel(kernel_height, kernel_width)
    pixels = tf.roll(pixels, shift=[-centre[0], -centre[1]], axis=[2, 3])
    waves = tf.signal.rfft2d(tf.reshape(pixels, [taps, height, width]))
    if columns is not None:
        waves = tf.gather(waves, columns, axis=2)
    waves = tf.stack([tf.math.real(waves), tf.math.imag(waves)], axis=3)
    return tf.reshape(tf.transpose(waves, [2, 1, 3, 0]), [-1, taps])


def apply_spectrum(images, spectrum):
    """Convolves images circularly with the convolution of the given spectrum.

    Args:
        images: real tensor [batch, height, width, channels].
        spectrum: real tensor [width // 2 + 1, height, 2 * filters, channels], of the dtype of the
            images.

    Returns:
        Real tensor [batch, height, width, filters].
    """
    if few_images.are_few(images):
        return few_images.convolved(images, spectrum)
    frequencies = fourier.to_frequencies(images)
    products = matmul(complex_pairs.block(spectrum), frequencies)
    return fourier.to_images(products, images.shape[2])


def apply_pointwise(images, spectrum):
    """Convolves images with a convolution of kernel size 1, given its spectrum for one pixel.

    The matrix is the same at all frequencies, and therefore the same at all pixels.

    Args:
        images: real tensor [batch, height, width, channels].
        spectrum: real tensor [1, 1, 2 * filters, channels].

    Returns:
        Real tensor [batch, height, width, filters].
    """
    matrix, _ = complex_pairs.parts(spectrum[0, 0])
    if few_images.are_few(images):
        return few_images.multiplied(images, matrix)
    filters, channels = matrix.shape
    outputs = matmul(tf.reshape(images, [-1, channels]), matrix, transpose_b=True)
    return tf.reshape(outputs, tf.concat([tf.shape(images)[:-1], [filters]], axis=0))


def apply_spectrum_by_columns(images, filters, columns_of_spectrum, weights):
    """Does the same as `apply_spectrum` with one column of the spectrum in memory at a time.

    Gradients evaluate each column again, so that training needs no more memory for it either.

    Args:
        images: real tensor [batch, height, width, channels].
        filters: int, the number of output channels.
        columns_of_spectrum: function of (weights, columns) that returns
            [len(columns), height, 2 * filters, channels] for an int tensor `columns`.
        weights: tuple of tensors; gradients flow to these and to the images.

    Returns:
        Real tensor [batch, height, width, filters].
    """
    batch, height, width, channels = images.shape
    few = few_images.are_few(images)

    @tf.recompute_grad
    def convolved(values, column, *weights):
        spectrum = columns_of_spectrum(weights, column[tf.newaxis])
        spectrum = tf.ensure_shape(spectrum, [1, height, 2 * filters, channels])
        if few:
            return few_images.convolved_columns(values[tf.newaxis], spectrum)[0]
        frequencies = fourier.height_to_frequencies(values[tf.newaxis], channels)
        products = matmul(complex_pairs.block(spectrum), frequencies)
        return fourier.height_to_images(products)[0]

    values = few_images.columns_of(images) if few else fourier.width_to_frequencies(images)
    shape = [batch, 2 * height, filters] if few else [2 * height, None]
    values = tf.map_fn(
        lambda value_and_column: convolved(*value_and_column, *weights),
        (values, tf.range(width // 2 + 1)),
        fn_output_signature=tf.TensorSpec(shape, images.dtype),
        parallel_iterations=1,
    )
    if few:
        return few_images.images_of(values, width)
    return fourier.width_to_images(values, width, filters)


def absolute_correlations(kernel):
    """Returns the sums over all shifts of the absolute correlations of pairs of input channels.

    For the convolution W these are the numbers sum_s |(W*W)(s)[i, j]| of the positive semidefinite
    convolution W*W. They bound those of a circular convolution of any size, where shifts that
    differ by the image are added before the absolute value.

    Args:
        kernel: real tensor [kernel_height, kernel_width, channels, filters].

    Returns:
        Tensor [channels, channels], symmetric but for rounding.
    """
    kernel_height, kernel_width = kernel.shape[:2]
    # Large enough for all shifts of one kernel over another.
    height, width = 2 * kernel_height - 1, 2 * kernel_width - 1
    spectrum = kernel_spectrum(kernel, height, width)
    products = complex_pairs.multiply_adjoint_left(spectrum, spectrum)
    # The second channel takes the place of the batch.
    correlations = fourier.to_images(products, width)
    return tf.reduce_sum(tf.abs(correlations), axis=(1, 2))
