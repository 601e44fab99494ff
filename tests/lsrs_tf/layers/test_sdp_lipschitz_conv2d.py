import numpy as np

from lsrs_tf import lipschitz_bound
from lsrs_tf.layers import SDPLipschitzConv2D
from tests.oracles import circular_convolution


def test_is_the_published_layer():
    rng = np.random.default_rng(0)
    layer = SDPLipschitzConv2D(3, 3, dtype="float64")
    images = rng.normal(size=(2, 5, 6, 3))
    layer(images)
    layer.bias.assign(rng.normal(size=3))
    layer.log_q.assign(rng.normal(size=3))
    kernel, diagonal = (part.numpy() for part in layer.transformed_weights("float64"))
    hidden = np.maximum(circular_convolution(images, kernel) + layer.bias.numpy(), 0) / diagonal
    # The adjoint of a convolution has its kernel, mirrored in all respects.
    step = circular_convolution(hidden, kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    np.testing.assert_allclose(layer(images), images - 2 * step, atol=1e-12)


def test_diagonal_that_is_too_small_shows_in_the_bound(monkeypatch):
    layer = SDPLipschitzConv2D(3, 3)
    layer.build((None, 5, 5, 3))
    assert lipschitz_bound(layer) == 1.0
    right = SDPLipschitzConv2D.transformed_weights

    def too_small(self, dtype):
        kernel, diagonal = right(self, dtype)
        return kernel, diagonal / 16

    monkeypatch.setattr(SDPLipschitzConv2D, "transformed_weights", too_small)
    assert lipschitz_bound(layer) > 1.5
