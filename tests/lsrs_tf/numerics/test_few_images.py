import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.numerics import few_images
from lsrs_tf.numerics.spectrum import (
    apply_pointwise,
    apply_spectrum,
    apply_spectrum_by_columns,
    kernel_spectrum,
)

# Where products of one image are large enough for kernels of several threads, and where not.
SIZES = [(8, 8, 3, 4), (7, 9, 5, 8), (16, 16, 32, 16), (8, 16, 12, 64)]


def _convolutions(height, width, channels, filters):
    rng = np.random.default_rng(1)
    kernel = tf.constant(rng.normal(size=(3, 3, channels, filters)))
    spectrum = kernel_spectrum(kernel, height, width)
    matrix = kernel_spectrum(kernel[1:2, 1:2], 1, 1)

    def of_columns(weights, columns):
        return kernel_spectrum(*weights, height, width, columns)

    return {
        "whole": lambda images: apply_spectrum(images, spectrum),
        "by columns": lambda images: apply_spectrum_by_columns(
            images, filters, of_columns, (kernel,)
        ),
        "pointwise": lambda images: apply_pointwise(images, matrix),
    }


@pytest.mark.parametrize("size", SIZES)
def test_every_place_gives_the_bits_of_an_image_alone(size):
    images = np.random.default_rng(0).normal(size=(few_images.FEW, *size[:3]))
    for name, convolution in _convolutions(*size).items():
        convolution = tf.function(convolution)
        alone = np.concatenate([convolution(tf.constant(image[np.newaxis])) for image in images])
        for batch in (2, 4, few_images.FEW):
            for first in {0, few_images.FEW - batch}:
                found = convolution(tf.constant(images[first : first + batch]))
                np.testing.assert_array_equal(found, alone[first : first + batch], name)


def test_a_neighbour_without_numbers_changes_nothing():
    size = SIZES[1]
    images = np.random.default_rng(0).normal(size=(4, *size[:3]))
    strange = images.copy()
    strange[:3] = [[[[np.nan]]], [[[np.inf]]], [[[1e300]]]]
    for convolution in _convolutions(*size).values():
        expected = convolution(tf.constant(images))[3]
        np.testing.assert_array_equal(convolution(tf.constant(strange))[3], expected)


def test_gradients_are_those_of_many_images():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(few_images.FEW, 5, 6, 3))
    spectrum = tf.constant(rng.normal(size=(4, 5, 8, 3)))
    many = np.concatenate([images, np.zeros((1, 5, 6, 3))])

    @tf.function
    def gradients(images):
        with tf.GradientTape() as second, tf.GradientTape() as first:
            first.watch([images, spectrum])
            second.watch([images, spectrum])
            outputs = apply_spectrum(images, spectrum)
            by_images, by_spectrum = first.gradient(tf.reduce_sum(outputs**3), [images, spectrum])
            size = tf.reduce_sum(by_images**2)
        return by_images, by_spectrum, *second.gradient(size, [images, spectrum])

    for few, all_of_them in zip(
        gradients(tf.constant(images)), gradients(tf.constant(many)), strict=True
    ):
        np.testing.assert_allclose(few, all_of_them[: len(few)], rtol=1e-9, atol=1e-9)


def test_few_are_known_to_be_few():
    known = tf.zeros([few_images.FEW, 2, 2, 1])
    assert few_images.are_few(known)
    assert not few_images.are_few(tf.zeros([few_images.FEW + 1, 2, 2, 1]))
    # A batch of none has no shape to be told from.
    assert not few_images.are_few(known[:0])
    assert apply_spectrum(known[:0], tf.zeros([2, 2, 2, 1])).shape == (0, 2, 2, 1)

    @tf.function(input_signature=[tf.TensorSpec([None, 2, 2, 1])])
    def of_unknown(images):
        assert not few_images.are_few(images)
        return images

    of_unknown(known)


def test_compiles_with_xla():
    images = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 6, 3)))
    spectrum = tf.constant(np.random.default_rng(1).normal(size=(4, 4, 4, 3)))
    compiled = tf.function(apply_spectrum, jit_compile=True)(images, spectrum)
    np.testing.assert_allclose(compiled, apply_spectrum(images, spectrum), atol=1e-12)
