import keras
import numpy as np

from lsrs_tf.layers import OrthogonalConv2D
from tests.oracles import singular_values


def test_size_of_the_kernel_does_not_matter_but_the_gain_does():
    layer = OrthogonalConv2D(3, 3)
    images = keras.random.normal((1, 4, 4, 3))
    before = layer(images).numpy()
    layer.kernel.assign(1000 * layer.kernel)
    np.testing.assert_allclose(layer(images), before, atol=1e-5)
    layer.gain.assign(2 * layer.gain)
    assert np.abs(layer(images).numpy() - before).max() > 0.01


def test_zero_kernel_is_still_orthogonal():
    layer = OrthogonalConv2D(3, 3, kernel_initializer="zeros")
    np.testing.assert_allclose(singular_values(layer, (4, 4, 3)), 1, atol=1e-6)
