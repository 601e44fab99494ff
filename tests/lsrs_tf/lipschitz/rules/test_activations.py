import keras
import numpy as np
import pytest

from lsrs_tf import lipschitz_bound
from lsrs_tf.lipschitz.rules.activations import CONSTANTS


def _slope(function):
    """The largest slope between neighbouring points, in float64: from below, and close."""
    x = np.concatenate([np.linspace(-60, 60, 1_200_001), np.linspace(-1e-4, 1e-4, 20_001)])
    x = np.sort(x[np.concatenate([[True], np.diff(x) != 0])])
    y = keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(x, "float64")))
    step = np.diff(x)
    return (np.abs(np.diff(y)) / np.maximum(step, 1e-9)).max()


@pytest.mark.parametrize("name", sorted(set(CONSTANTS) - {"softmax"}))
def test_constant_is_the_largest_slope(name):
    function = getattr(keras.activations, name)
    slope = _slope(function)
    assert slope * (1 - 1e-5) <= CONSTANTS[name]
    assert slope >= CONSTANTS[name] * (1 - 1e-3)
    assert lipschitz_bound(keras.layers.Activation(name), (None, 3)) == CONSTANTS[name]


def test_softmax():
    rng = np.random.default_rng(0)
    largest = 0.0
    for logits in [*rng.normal(size=(50, 4)), np.array([0.0, 0.0, -30.0, -30.0])]:
        p = np.exp(logits) / np.exp(logits).sum()
        largest = max(largest, np.linalg.norm(np.diag(p) - np.outer(p, p), 2))
    assert (
        0.499
        <= largest
        <= CONSTANTS["softmax"]
        == lipschitz_bound(keras.layers.Softmax(), (None, 4))
    )


@pytest.mark.parametrize(
    ("layer", "constant"),
    [
        (keras.layers.ReLU(), 1.0),
        (keras.layers.ReLU(max_value=6.0, negative_slope=0.1), 1.0),
        (keras.layers.ReLU(negative_slope=3.0), 3.0),
        (keras.layers.LeakyReLU(negative_slope=0.3), 1.0),
        (keras.layers.LeakyReLU(negative_slope=2.0), 2.0),
        (keras.layers.ELU(alpha=1.0), 1.0),
        (keras.layers.ELU(alpha=2.5), 2.5),
        (keras.layers.PReLU(), 1.0),
        (keras.layers.PReLU(keras.initializers.Constant(-4.0)), 4.0),
    ],
)
def test_layers_with_a_slope(layer, constant):
    assert lipschitz_bound(layer, (None, 3)) == constant
    layer = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
    layer.build((None, 1))

    def function(x):
        return keras.ops.reshape(layer(keras.ops.reshape(x, (-1, 1))), (-1,))

    assert constant * (1 - 1e-3) <= _slope(function) <= constant * (1 + 1e-5)
