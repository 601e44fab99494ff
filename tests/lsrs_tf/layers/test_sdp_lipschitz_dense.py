import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import lipschitz_bound
from lsrs_tf.layers import FixedResidualDense, SDPLipschitzDense
from lsrs_tf.models.freezing import freeze_encoder
from tests.training import trained

# inputs, units, hidden units
SHAPES = [(5, 5, None), (5, 5, 12), (5, 5, 2), (3, 6, 4), (6, 3, None), (1, 1, 1)]


def _with_random_weights(inputs, units, hidden, seed=0, **arguments):
    rng = np.random.default_rng(seed)
    layer = SDPLipschitzDense(units, hidden, **arguments)
    layer.build((None, inputs))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


@pytest.mark.parametrize(("inputs", "units", "hidden"), SHAPES)
def test_is_the_published_layer_with_absolute_values(inputs, units, hidden):
    layer = _with_random_weights(inputs, units, hidden, dtype="float64")
    kernel, log_q, bias = (weight.numpy() for weight in layer.weights)
    q = np.exp(log_q) + 1e-6
    diagonal = np.abs(kernel.T @ kernel) @ q / q + 1e-6
    rows = np.random.default_rng(1).normal(size=(7, inputs))
    padded = np.pad(rows, [(0, 0), (0, len(kernel) - inputs)])
    step = kernel @ (np.maximum(padded @ kernel + bias, 0) / diagonal).T
    np.testing.assert_allclose(layer(rows), (padded - 2 * step.T)[:, :units], atol=1e-12)


@pytest.mark.parametrize(("inputs", "units", "hidden"), SHAPES)
def test_no_jacobian_is_above_the_bound_after_training(inputs, units, hidden):
    layer = trained(SDPLipschitzDense(units, hidden), (inputs,))
    frozen = freeze_encoder(layer)
    bound = lipschitz_bound(layer)
    assert 1 <= bound <= 1 + 1e-9
    assert lipschitz_bound(frozen) == bound
    kernel, diagonal, bias = (weight.numpy() for weight in frozen.weights)
    rng = np.random.default_rng(0)
    # Where the activation is on or off decides the Jacobian; here, in all combinations.
    for _ in range(50):
        on = rng.integers(2, size=len(diagonal))
        matrix = np.eye(len(kernel)) - 2 * kernel @ np.diag(on / diagonal) @ kernel.T
        assert np.linalg.norm(matrix, 2) <= bound * (1 + 1e-14)
    assert bias.shape == diagonal.shape


@pytest.mark.parametrize("log_q", [[0, 0, 0], [3, 0, -5], [1e30, -1e30, 0], [20, -20, 20]])
@pytest.mark.parametrize("scale", [0, 1e-30, 1e-6, 1, 1e9, 1e30])
def test_hostile_weights_keep_the_constant_and_are_finite(scale, log_q):
    layer = _with_random_weights(3, 3, 3)
    layer.kernel.assign(scale * layer.kernel.numpy())
    layer.log_q.assign(log_q)
    layer.bias.assign([1e20, -1e20, 0])
    rows = tf.constant(np.random.default_rng(1).normal(size=(4, 3)), tf.float32)
    with tf.GradientTape() as tape:
        outputs = layer(rows)
        loss = tf.reduce_sum(outputs)
    for value in (outputs, *tape.gradient(loss, layer.trainable_weights)):
        assert np.all(np.isfinite(value))
    kernel, diagonal = (part.numpy() for part in layer.transformed_weights("float64"))
    assert np.linalg.norm(kernel / np.sqrt(diagonal), 2) <= 1 + 1e-12
    assert 1 <= lipschitz_bound(layer) <= 1 + 1e-9


def test_without_absolute_values_the_bound_is_above_one(monkeypatch):
    layer = SDPLipschitzDense(2, use_bias=False)
    layer.build((None, 2))
    layer.kernel.assign([[1.0, -1.0], [0.5, -0.5]])
    assert lipschitz_bound(layer) <= 1 + 1e-9

    def of_signed_correlations(self, dtype):
        kernel = tf.cast(self.kernel, dtype)
        sums = tf.reduce_sum(tf.matmul(kernel, kernel, transpose_a=True), axis=1)
        return kernel, tf.abs(sums) + 1e-6

    monkeypatch.setattr(SDPLipschitzDense, "transformed_weights", of_signed_correlations)
    assert lipschitz_bound(layer) > 1e5


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_bfloat16", "mixed_float16"])
def test_frozen_layer_is_the_same_map(policy):
    layer = _with_random_weights(5, 4, 7, dtype=policy)
    rows = keras.random.normal((2, 3, 5), dtype=layer.compute_dtype)
    outputs = layer(rows)
    assert outputs.shape == (2, 3, 4) and outputs.dtype == layer.compute_dtype
    frozen = freeze_encoder(layer)
    assert isinstance(frozen.layers[-1], FixedResidualDense)
    atol = {"float32": 5e-6, "float64": 1e-13, "bfloat16": 0.05, "float16": 5e-3}
    double = frozen(tf.cast(tf.reshape(rows, [-1, 5]), tf.float64))
    outputs = tf.cast(tf.reshape(outputs, [-1, 4]), tf.float64)
    np.testing.assert_allclose(double, outputs, atol=atol[layer.compute_dtype])
    assert all(weight.dtype == layer.variable_dtype for weight in layer.weights)


def test_all_weights_get_gradients():
    layer = _with_random_weights(4, 4, 6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(keras.random.normal((8, 4))) ** 3)
    for gradient in tape.gradient(loss, layer.trainable_weights):
        assert np.abs(gradient).max() > 1e-4


def test_config_and_file_round_trip(tmp_path):
    model = keras.Sequential([keras.Input((4,)), SDPLipschitzDense(3, 8, bias_initializer="ones")])
    layer = model.layers[0]
    assert SDPLipschitzDense.from_config(layer.get_config()).get_config() == layer.get_config()
    data = keras.random.normal((2, 4))
    for each in (model, freeze_encoder(model)):
        each.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(data), each(data))


@pytest.mark.parametrize(
    ("arguments", "input_shape", "message"),
    [
        ({"units": 0}, (None, 3), "units"),
        ({"units": 2, "hidden_units": 0}, (None, 3), "hidden_units"),
        ({"units": 2, "hidden_units": 2.5}, (None, 3), "hidden_units"),
        ({"units": 2, "activation": "relu"}, (None, 3), "no argument `activation`"),
        ({"units": 2}, (None, None), "known last dimension"),
    ],
)
def test_bad_arguments_are_named(arguments, input_shape, message):
    with pytest.raises(ValueError, match=message):
        SDPLipschitzDense(**arguments).build(input_shape)


def test_weights_that_are_no_proof_are_refused():
    layer = FixedResidualDense(2, 2, name="culprit")
    layer.build((None, 2))
    layer.diagonal.assign([1.0, 0.0])
    with pytest.raises(ValueError, match=r"culprit.*above 0"):
        lipschitz_bound(layer)
    layer = SDPLipschitzDense(2, name="culprit")
    layer.build((None, 2))
    layer.log_q.assign([np.nan, 0])
    with pytest.raises(ValueError, match="culprit"):
        lipschitz_bound(layer)
