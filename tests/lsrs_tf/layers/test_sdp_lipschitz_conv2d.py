import numpy as np
import pytest

from lsrs_tf import lipschitz_bound
from lsrs_tf.layers import SDPLipschitzConv2D
from tests.oracles import circular_convolution, jacobian
from tests.training import trained


@pytest.mark.parametrize("hidden", [None, 2, 7])
def test_is_the_published_layer(hidden):
    rng = np.random.default_rng(0)
    layer = SDPLipschitzConv2D(3, 3, dtype="float64", hidden_filters=hidden)
    images = rng.normal(size=(2, 5, 6, 3))
    layer(images)
    layer.bias.assign(rng.normal(size=hidden or 3))
    layer.log_q.assign(rng.normal(size=hidden or 3))
    kernel, diagonal = (part.numpy() for part in layer.transformed_weights("float64"))
    hidden = np.maximum(circular_convolution(images, kernel) + layer.bias.numpy(), 0) / diagonal
    # The adjoint of a convolution has its kernel, mirrored in all respects.
    step = circular_convolution(hidden, kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    np.testing.assert_allclose(layer(images), images - 2 * step, atol=1e-12)
    copy = SDPLipschitzConv2D.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize(("filters", "kernel_size"), [(3, 3), (2, 1), (4, 2)])
@pytest.mark.parametrize("hidden", [1, 8])
def test_width_inside_keeps_the_constant(filters, kernel_size, hidden):
    layer = trained(SDPLipschitzConv2D(filters, kernel_size, hidden_filters=hidden), (5, 4, 3))
    assert 1 <= lipschitz_bound(layer) <= 1 + 1e-9
    # By the matrix of the convolution inside.
    kernel, diagonal = (part.numpy() for part in layer.transformed_weights("float64"))
    padded = kernel.shape[2]
    matrix = jacobian(lambda images: circular_convolution(images, kernel), (5, 4, padded))
    norm = np.linalg.norm(matrix / np.sqrt(np.tile(diagonal, 20))[:, np.newaxis], 2)
    assert norm <= 1 + 1e-12


def test_bad_width_inside_is_refused():
    with pytest.raises(ValueError, match="hidden_filters"):
        SDPLipschitzConv2D(3, 3, hidden_filters=0)


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
