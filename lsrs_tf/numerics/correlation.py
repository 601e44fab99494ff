"""Sizes of the correlations between the channels of a convolution, for rescaled layers."""

import tensorflow as tf

from lsrs_tf.numerics import complex_pairs, fourier
from lsrs_tf.numerics.spectrum import kernel_spectrum


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
