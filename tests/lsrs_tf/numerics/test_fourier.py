import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.numerics import fourier


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (4, 4), (5, 6), (7, 5)])
def test_agrees_with_numpy_and_comes_back(height, width):
    images = np.random.default_rng(0).normal(size=(2, height, width, 3))
    frequencies = fourier.to_frequencies(tf.constant(images))
    expected = np.fft.rfft2(images, axes=(1, 2)).transpose(2, 1, 3, 0)
    np.testing.assert_allclose(
        frequencies, np.concatenate([expected.real, expected.imag], axis=2), atol=1e-12
    )
    np.testing.assert_allclose(fourier.to_images(frequencies, width), images, atol=1e-13)
