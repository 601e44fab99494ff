import numpy as np
import tensorflow as tf

from lsrs_tf.layers import SpectralConv2D
from lsrs_tf.numerics.spectrum import kernel_spectrum
from tests.oracles import circular_convolution


def test_convolves_with_its_spectrum():
    rng = np.random.default_rng(0)
    kernel, images = rng.normal(size=(3, 3, 2, 4)), rng.normal(size=(2, 5, 6, 2))
    layer = SpectralConv2D(4, dtype="float64")
    layer.build(images.shape)
    layer.spectrum.assign(kernel_spectrum(tf.constant(kernel), 5, 6))
    layer.bias.assign([1.0, 2.0, 3.0, 4.0])
    expected = circular_convolution(images, kernel) + [1, 2, 3, 4]
    np.testing.assert_allclose(layer(images), expected, atol=1e-12)


def test_nothing_is_trained():
    layer = SpectralConv2D(4, strides=2)
    assert layer(np.zeros((1, 4, 4, 1), np.float32)).shape == (1, 2, 2, 4)
    assert not layer.trainable_weights
    copy = SpectralConv2D.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
