"""One test for each fault that was found in published layers and bounds, named after it."""

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf import layers, lipschitz_bound
from lsrs_tf.models.freezing import freeze_encoder
from lsrs_tf.numerics import precision
from lsrs_tf.numerics.spectrum import absolute_correlations
from tests.oracles import circular_convolution, jacobian, singular_values


def _model(*parts, shape=(4, 5, 2)):
    return keras.Sequential([keras.Input(shape), *parts])


def test_scale_outside_the_optimizer():
    model = _model(layers.OrthogonalConv2D(2, 3))
    # The optimizer is told of its variables here, before any training step.
    model.compile("sgd", "mse")
    before = float(model.layers[0].gain)
    model.fit(keras.random.normal((8, 4, 5, 2)), keras.random.normal((8, 4, 5, 2)), verbose=0)
    assert float(model.layers[0].gain) != before


def test_stale_cache(tmp_path):
    model = _model(layers.OrthogonalConv2D(2, 3))
    images = keras.random.normal((2, 4, 5, 2))
    model.compile("sgd", "mse")
    kernel = model.layers[0].kernel
    other = [keras.random.normal(weight.shape).numpy() for weight in model.get_weights()]
    _model(layers.OrthogonalConv2D(2, 3)).save_weights(tmp_path / "other.weights.h5")
    changes = [
        lambda: model.fit(images, keras.random.normal(images.shape), verbose=0),
        lambda: kernel.assign(keras.random.normal(kernel.shape)),
        lambda: model.set_weights(other),
        lambda: model.load_weights(tmp_path / "other.weights.h5"),
    ]
    in_graph = tf.function(model)
    for change in changes:
        before = in_graph(images).numpy()
        frozen_before = freeze_encoder(model)(images).numpy()
        change()
        assert np.abs(in_graph(images).numpy() - before).max() > 1e-4
        np.testing.assert_allclose(in_graph(images), model(images), atol=1e-5)
        frozen = freeze_encoder(model)(images).numpy()
        np.testing.assert_allclose(frozen, model(images), atol=1e-5)
        assert np.abs(frozen - frozen_before).max() > 1e-4
        np.testing.assert_allclose(singular_values(model, (4, 5, 2)), 1, atol=2e-6)


def test_odd_width():
    for width in (3, 5, 7):
        layer = layers.OrthogonalConv2D(2, 3)
        assert layer(np.zeros((1, 4, width, 2), np.float32)).shape == (1, 4, width, 2)
        np.testing.assert_allclose(singular_values(layer, (4, width, 2)), 1, atol=2e-6)


def test_half_pixel_shift():
    for size in (2, 3, 4):
        layer = layers.AlmostOrthogonalConv2D(2, size, use_bias=False)
        images = np.random.default_rng(0).normal(size=(1, 4, 6, 2)).astype(np.float32)
        layer(images)
        (kernel,) = layer.transformed_weights("float64")
        expected = circular_convolution(images, kernel.numpy())
        np.testing.assert_allclose(layer(images), expected, atol=1e-5)


def test_missing_absolute_value_in_sll():
    layer = layers.SDPLipschitzConv2D(1, (1, 2), dtype="float64", use_bias=False)
    layer.build((None, 1, 8, 1))
    # Its correlations at the shifts -1, 0, 1 are -1, 2, -1: their sum is 0, the norm of WW* is 4.
    layer.kernel.assign(np.reshape([1.0, -1.0], (1, 2, 1, 1)))
    diagonal = layer.transformed_weights("float64")[1]
    np.testing.assert_allclose(diagonal, [4.0], atol=1e-12)
    assert lipschitz_bound(layer) <= 1 + 1e-12


def test_dead_q():
    layer = layers.SDPLipschitzConv2D(3, 3)
    images = keras.random.normal((2, 5, 5, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images) ** 3)
    assert np.abs(tape.gradient(loss, layer.log_q)).min() > 1e-4
    before = layer(images).numpy()
    layer.log_q.assign([0.0, 1.0, -1.0])
    assert np.abs(layer(images).numpy() - before).max() > 1e-3
    # T_i = sum_j |WW*|_ij q_j / q_i
    kernel = tf.constant(layer.kernel.numpy().transpose(0, 1, 3, 2), tf.float64)
    q = np.exp([0.0, 1.0, -1.0])
    expected = absolute_correlations(kernel).numpy() @ q / q
    np.testing.assert_allclose(layer.transformed_weights("float64")[1], expected, rtol=1e-6)
    assert lipschitz_bound(layer) <= 1 + 1e-9


def test_product_over_groups():
    model = _model(
        keras.layers.Conv2D(4, 3, groups=2, padding="same", use_bias=False), shape=(5, 6, 4)
    )
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4)) * [3, 3, 2, 2]
    model.layers[0].kernel.assign(kernel)
    exact = np.linalg.norm(jacobian(model, (5, 6, 4)), 2)
    # The groups work side by side: the larger norm counts, not their product.
    assert exact * (1 - 1e-6) <= lipschitz_bound(model) <= exact * (1 + 1e-6)


def test_standard_deviation_left_out_of_l():
    std = [0.2470, 0.2435, 0.2616]
    model = _model(
        layers.Standardization([0.49, 0.48, 0.45], std),
        layers.OrthogonalConv2D(4, 3),
        shape=(4, 4, 3),
    )
    assert 1 / 0.2435 <= lipschitz_bound(model) <= 1 / 0.2435 + 1e-6


def test_power_iteration_from_below():
    # Two nearly equal singular values, at which power iteration stops early.
    model = _model(keras.layers.Dense(2, use_bias=False), shape=(2,))
    model.layers[0].kernel.assign([[1.0, 0.0], [0.0, 1.0 + 2.0**-20]])
    assert 1 + 2.0**-20 <= lipschitz_bound(model) <= 1 + 2.0**-20 + 1e-12


def test_tf32(monkeypatch):
    plain_matmul = tf.matmul

    def rounded(values):
        """To the 10 bits of mantissa of TF32, to the nearest."""
        bits = np.asarray(values, np.float32).view(np.int32)
        return tf.constant(((bits + 0x1000) & ~0x1FFF).view(np.float32))

    def tf32_matmul(left, right, **arguments):
        return plain_matmul(rounded(left), rounded(right), **arguments)

    layer = layers.OrthogonalConv2D(8, 3, use_bias=False)
    layer.build((None, 6, 6, 8))
    monkeypatch.setattr(tf, "matmul", tf32_matmul)
    unprotected = np.abs(singular_values(layer, (6, 6, 8)) - 1).max()
    # What a GPU with TF32 switched on would do, and what the layers do where there is a GPU.
    monkeypatch.setattr(precision, "tf32_is_possible", lambda dtype: dtype == tf.float32)
    np.testing.assert_allclose(singular_values(layer, (6, 6, 8)), 1, atol=2e-6)
    assert unprotected > 1e-4
