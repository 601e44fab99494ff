import keras
import numpy as np
import pytest

from lsrs_tf import layers, lipschitz_bound, lipschitz_report
from lsrs_tf.lipschitz.rules.residuals import root_of_dominance
from lsrs_tf.models.freezing import freeze_encoder
from tests.oracles import circular_convolution, jacobian


def _layer(kernel_size=3, hidden=4, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    layer = layers.SDPLipschitzConv2D(3, kernel_size, hidden_filters=hidden)
    layer.build((None, 6, 5, 3))
    layer.kernel.assign(scale * rng.normal(size=layer.kernel.shape))
    layer.log_q.assign(rng.normal(size=hidden))
    layer.bias.assign(rng.normal(size=hidden))
    return layer


def _norm(kernel, diagonal):
    """The norm of T^-1/2 W, by the matrix of the convolution."""
    matrix = jacobian(lambda images: circular_convolution(images, kernel), (6, 5, kernel.shape[2]))
    return np.linalg.norm(matrix / np.sqrt(np.tile(diagonal, 30))[:, np.newaxis], 2)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, (1, 4), (5, 2)])
@pytest.mark.parametrize("hidden", [1, 5])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
def test_dominance_is_one_for_the_layer_and_above_the_norm(kernel_size, hidden, scale):
    layer = _layer(kernel_size, hidden, scale)
    kernel, diagonal = (part.numpy() for part in layer.transformed_weights("float64"))
    log_q = layer.log_q.numpy().astype(np.float64)
    found = root_of_dominance(kernel, diagonal, log_q)
    assert found == pytest.approx(1, abs=1e-11)
    assert _norm(kernel, diagonal) <= found
    # Any other weights and diagonals are bounded as well, and a smaller diagonal shows.
    for seed in range(5):
        other = np.random.default_rng(seed).normal(size=hidden)
        smaller = diagonal * np.exp(other)
        assert root_of_dominance(kernel, smaller, other) >= _norm(kernel, smaller)


@pytest.mark.parametrize("log_q", [[0, 0, 0], [40, 0, 80], [1e30, -1e30, 0], [-700, 700, 0]])
def test_large_layer_has_the_bound_of_a_small_one(log_q, monkeypatch):
    layer = _layer(hidden=3)
    layer.log_q.assign(log_q)
    small = lipschitz_bound(layer)
    monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    large = lipschitz_report(layer)
    assert 1 <= large.bound <= 1 + 1e-9
    assert large.bound == pytest.approx(small, abs=1e-9)
    if log_q == [0, 0, 0]:
        assert "by its kernel" in str(large)


def test_large_layer_with_a_wrong_diagonal_is_measured(monkeypatch):
    layer = _layer()
    right = layers.SDPLipschitzConv2D.transformed_weights

    def too_small(self, dtype):
        kernel, diagonal = right(self, dtype)
        return kernel, diagonal / 16

    monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    monkeypatch.setattr(layers.SDPLipschitzConv2D, "transformed_weights", too_small)
    report = lipschitz_report(layer)
    assert report.bound > 1.5 and "all frequencies" in str(report)


def test_claim_of_a_large_layer_is_not_below_that_of_a_small_one(monkeypatch):
    layer = _layer()
    frozen = freeze_encoder(keras.Sequential([keras.Input((6, 5, 3)), layer]))
    small = lipschitz_report(frozen).rounding_error
    monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    assert small <= lipschitz_report(frozen).rounding_error <= 3 * small
