import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.numerics.few_images import FEW
from lsrs_tf.numerics.spectrum import (
    apply_pointwise,
    apply_spectrum,
    apply_spectrum_by_columns,
    kernel_spectrum,
)
from tests.oracles import circular_convolution, joined

SIZES = [(4, 4), (5, 4), (4, 5), (5, 7)]
# Few images are convolved in another way than many, see `numerics.few_images`.
BATCHES = [2, FEW + 1]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("kernel_size", [(1, 1), (2, 2), (3, 3), (4, 3), (1, 4)])
@pytest.mark.parametrize("batch", BATCHES)
def test_spectrum_of_a_kernel_is_that_of_its_circular_convolution(
    height, width, kernel_size, batch
):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(*kernel_size, 3, 2))
    images = rng.normal(size=(batch, height, width, 3))
    spectrum = kernel_spectrum(tf.constant(kernel), height, width)
    assert spectrum.shape == (width // 2 + 1, height, 4, 3)
    result = apply_spectrum(tf.constant(images), spectrum)
    np.testing.assert_allclose(result, circular_convolution(images, kernel), atol=1e-12)


@pytest.mark.parametrize("width", [3, 5, 7])
@pytest.mark.parametrize("batch", BATCHES)
def test_odd_width_comes_back_whole(width, batch):
    images = tf.constant(np.random.default_rng(0).normal(size=(batch, 4, width, 1)))
    identity = kernel_spectrum(tf.ones([1, 1, 1, 1], tf.float64), 4, width)
    np.testing.assert_allclose(apply_spectrum(images, identity), images, atol=1e-13)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4])
def test_half_pixel_shift_would_make_the_nyquist_frequency_complex(kernel_size):
    kernel = tf.constant(np.random.default_rng(0).normal(size=(kernel_size, kernel_size, 2, 2)))
    spectrum = joined(kernel_spectrum(kernel, 4, 6))
    for column in (0, -1):
        for row in (0, 2):
            np.testing.assert_allclose(spectrum[column, row].imag, 0, atol=1e-14)


def test_columns_are_those_of_the_whole():
    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 2, 2, 4)))
    whole = kernel_spectrum(kernel, 5, 6)
    some = kernel_spectrum(kernel, 5, 6, tf.constant([2, 0]))
    np.testing.assert_allclose(some, tf.gather(whole, [2, 0]), atol=1e-14)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 3)])
@pytest.mark.parametrize("batch", BATCHES)
def test_by_columns_gives_the_same_values_and_gradients(height, width, batch):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(batch, height, width, 3)))
    kernel = tf.constant(rng.normal(size=(3, 3, 3, 2)))

    def by_columns(images, kernel):
        return apply_spectrum_by_columns(
            images, 2, lambda weights, columns: kernel_spectrum(*weights, height, width, columns),
            (kernel,),
        )  # fmt: skip

    def whole(images, kernel):
        return apply_spectrum(images, kernel_spectrum(kernel, height, width))

    def outputs_and_gradients(function):
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            outputs = function(images, kernel)
            loss = tf.reduce_sum(outputs**3)
        return outputs, *tape.gradient(loss, [images, kernel])

    expected = outputs_and_gradients(whole)
    for found in (
        outputs_and_gradients(by_columns),
        tf.function(outputs_and_gradients)(by_columns),
    ):
        for left, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-10)


@pytest.mark.parametrize("batch", BATCHES)
def test_pointwise_is_the_convolution_of_a_one_by_one_kernel(batch):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(1, 1, 3, 4))
    images = rng.normal(size=(batch, 4, 5, 3))
    result = apply_pointwise(tf.constant(images), kernel_spectrum(tf.constant(kernel), 1, 1))
    np.testing.assert_allclose(result, images @ kernel[0, 0], atol=1e-13)
