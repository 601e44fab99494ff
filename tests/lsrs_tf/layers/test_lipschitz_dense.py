"""The tests that every dense layer that is a matrix has to pass."""

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from lsrs_tf import layers, lipschitz_bound, lipschitz_report
from lsrs_tf.models.freezing import freeze_encoder
from tests.oracles import jacobian, singular_values
from tests.training import trained

ORTHOGONAL = [layers.OrthogonalDense, layers.ExponentialDense]
CONTRACTING = [layers.BjorckDense, layers.SpectralDense]
CLASSES = ORTHOGONAL + CONTRACTING
SHAPES = [(6, 6), (3, 8), (8, 3), (1, 1), (40, 30)]
SCALES = [0, 1e-44, 1e-30, 1e-20, 1e-10, 1e-7, 1e-5, 1, 1e5, 1e8, 1e30]


def _kernel(layer):
    return keras.ops.convert_to_numpy(layer.kernel)


@pytest.mark.parametrize("layer_class", CLASSES)
@pytest.mark.parametrize(("inputs", "units"), SHAPES)
def test_bound_holds_after_training(layer_class, inputs, units):
    layer = layer_class(units)
    # The orthogonal matrix of one number is a sign, or 1: nothing to train but the bias.
    trained(layer, (inputs,))
    assert singular_values(layer, (inputs,)).max() <= 1 + 2e-6
    frozen = freeze_encoder(layer)
    values = singular_values(frozen, (inputs,))
    for bound in (lipschitz_bound(layer), lipschitz_bound(frozen)):
        assert values.max() * (1 - 1e-14) <= bound <= values.max() + 1e-9
        assert bound <= 1 + 1e-9
    if layer_class in ORTHOGONAL:
        np.testing.assert_allclose(values, 1, atol=1e-12)
    else:
        # The norm is not wasted.
        assert values.max() >= 0.97


def test_bjorck_brings_singular_values_near_one():
    layer = layers.BjorckDense(40)
    layer.build((None, 40))
    layer.kernel.assign(np.diag(np.geomspace(0.01, 1, 40)) @ scipy.linalg.hadamard(64)[:40, :40])
    values = singular_values(layer, (40,))
    before = np.linalg.svd(_kernel(layer), compute_uv=False)
    usual = before > 0.01 * before[0]
    np.testing.assert_allclose(values[usual], 1, atol=1e-5)


def test_spectral_divides_by_the_largest_singular_value():
    layer = layers.SpectralDense(7, dtype="float64", use_bias=False)
    layer.build((None, 5))
    kernel = _kernel(layer)
    norm = np.linalg.norm(kernel, 2)
    ratio = layer(np.eye(5)).numpy() * norm / kernel
    # The bound that it divides by is never below the norm, and at most 3 % above it.
    assert np.ptp(ratio) < 1e-12 and 0.97 <= ratio[0, 0] <= 1 + 1e-12


@pytest.mark.parametrize(("inputs", "units"), [(5, 5), (3, 5), (5, 3)])
def test_exponential_is_that_of_scipy(inputs, units):
    layer = layers.ExponentialDense(units, dtype="float64", use_bias=False)
    layer.build((None, inputs))
    layer.gain.assign(1.5)
    kernel = 1.5 * _kernel(layer) / np.linalg.norm(_kernel(layer))
    expected = scipy.linalg.expm(kernel - kernel.T)[:inputs, :units]
    np.testing.assert_allclose(layer(np.eye(inputs)), expected, atol=1e-13)
    layer.gain.assign(1e4)
    assert singular_values(layer, (inputs,)).max() <= 1 + 1e-12


@pytest.mark.parametrize("layer_class", CLASSES)
@pytest.mark.parametrize("scale", SCALES)
def test_kernels_of_all_sizes(layer_class, scale):
    layer = layer_class(3)
    rows = keras.random.normal((4, 5))
    layer(rows)
    layer.kernel.assign(scale * _kernel(layer))
    with tf.GradientTape() as tape:
        outputs = layer(rows)
        loss = tf.reduce_sum(outputs**2)
    for value in (outputs, *tape.gradient(loss, layer.trainable_weights)):
        assert np.all(np.isfinite(value))
    assert lipschitz_bound(layer) <= 1 + 1e-9


@pytest.mark.parametrize("layer_class", CLASSES)
def test_all_weights_get_gradients_in_all_ways_to_run(layer_class):
    layer = layer_class(4)
    rows = keras.random.normal((8, 6))

    def outputs_and_gradients():
        with tf.GradientTape() as tape:
            outputs = layer(rows)
            loss = tf.reduce_sum(outputs**3)
        return outputs, *tape.gradient(loss, layer.trainable_weights)

    eager = outputs_and_gradients()
    for gradient in eager[1:]:
        assert np.abs(gradient).max() > 1e-4
    for jit_compile in (False, True):
        found = tf.function(outputs_and_gradients, jit_compile=jit_compile)()
        for left, right in zip(found, eager, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layer_class", CLASSES)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float64"])
def test_transform_keeps_its_precision_under_every_policy(layer_class, policy):
    layer = layer_class(3, dtype=policy)
    rows = tf.cast(keras.random.normal((4, 6)), layer.compute_dtype)
    outputs = layer(rows)
    assert outputs.dtype == layer.compute_dtype
    double = freeze_encoder(layer)(rows).numpy()
    last_place = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float64": 1e-15}[layer.compute_dtype]
    error = np.abs(tf.cast(outputs, tf.float64).numpy() - double).max()
    assert error <= 2 * last_place * np.abs(double).max() + 5e-6 * (policy != "float64")


@pytest.mark.parametrize("layer_class", CLASSES)
def test_config_and_file_round_trip(layer_class, tmp_path):
    model = keras.Sequential([keras.Input((4,)), layer_class(3, bias_initializer="ones")])
    layer = model.layers[0]
    assert layer_class.from_config(layer.get_config()).get_config() == layer.get_config()
    assert layer(np.zeros((2, 5, 4), np.float32)).shape == (2, 5, 3)
    data = keras.random.normal((2, 4))
    for each in (model, freeze_encoder(model)):
        each.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(data), each(data))


@pytest.mark.parametrize("layer_class", CLASSES)
def test_claim_is_above_the_rounding_error(layer_class):
    layer = layer_class(5)
    layer.build((None, 30))
    layer.bias.assign([1e6, -1e6, 1.0, 1e-9, 0.0])
    frozen = freeze_encoder(keras.Sequential([keras.Input((30,)), layer]))
    rows = np.random.default_rng(0).uniform(size=(50, 30)).astype(np.float32)
    kernel, bias = (weight.numpy().astype(np.longdouble) for weight in frozen.weights)
    error = np.abs(frozen(rows).numpy() - (rows.astype(np.longdouble) @ kernel + bias))
    claim = lipschitz_report(frozen).rounding_error
    assert np.sqrt((error**2).sum(axis=1)).max() <= claim < 1e-7
    assert lipschitz_report(layer, (None, 30)).rounding_error == pytest.approx(claim)


@pytest.mark.parametrize("layer_class", [*CLASSES, layers.SDPLipschitzDense])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(layer_class, value):
    layer = layer_class(3, name="culprit")
    layer.build((None, 3))
    kernel = _kernel(layer).copy()
    kernel[0, 0] = value
    layer.kernel.assign(kernel)
    with pytest.raises(ValueError, match="culprit"):
        lipschitz_bound(layer)


@pytest.mark.parametrize("layer_class", CLASSES)
def test_bad_arguments_and_patches_are_refused(layer_class):
    with pytest.raises(ValueError, match="units"):
        layer_class(-1)
    with pytest.raises(ValueError, match="no argument `activation`"):
        layer_class(2, activation="relu")
    with pytest.raises(ValueError, match="known last dimension"):
        layer_class(2).build((None, None))
    layer = layer_class(2)
    layer.build((None, 2))
    layer.matrix = lambda dtype: 7 * tf.eye(2, dtype=dtype)
    with pytest.raises(ValueError, match="matrix"):
        lipschitz_bound(layer)


def test_base_class_is_refused():
    with pytest.raises(NotImplementedError, match="OrthogonalDense"):
        layers.LipschitzDense(2).build((None, 3))


def test_norm_of_the_reshaped_kernel_would_not_be_enough():
    # The negative control: normalizing as Miyato et al. do leaves a convolution above 1.
    layer = layers.SpectralNormalizedConv2D(2, 3, use_bias=False)
    layer.build((None, 6, 6, 2))
    layer.kernel.assign(np.ones((3, 3, 2, 2)))
    assert np.linalg.norm(jacobian(layer, (6, 6, 2)), 2) <= 1 + 1e-6
    reshaped = np.ones((18, 2)) / np.linalg.norm(np.ones((18, 2)), 2)
    convolution = keras.layers.Conv2D(2, 3, padding="same", use_bias=False)
    convolution.build((None, 6, 6, 2))
    convolution.kernel.assign(reshaped.reshape(3, 3, 2, 2))
    assert np.linalg.norm(jacobian(convolution, (6, 6, 2)), 2) > 2
