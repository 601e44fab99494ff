import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, losses, models
from lsrs_tf.losses.class_pairs import distances_of_columns
from tests.lsrs_tf.losses import statements

FEATURES = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
LABELS = np.arange(6) % 3


def _linear_model(layer=None):
    encoder = keras.Sequential([keras.Input((4,)), layers.OrthogonalDense(4)])
    head = layer or keras.layers.Dense(3)
    if not head.built:
        head.build((None, 4))
    return models.LatentSmoothingModel(encoder, head, 0.25)


def test_distances_are_those_of_every_two_columns():
    kernel = np.random.default_rng(1).normal(size=(20, 6)).astype(np.float32)
    # Close to each other, and far from the origin: products cancel.
    kernel[:, 1] = kernel[:, 0] + np.float32(1e-4)
    kernel[:, 2] = kernel[:, 3]
    wide = kernel.astype(np.float64)
    expected = [statements.class_distances(wide, label) for label in range(6)]
    np.testing.assert_allclose(distances_of_columns(kernel), expected, rtol=1e-8, atol=1e-14)


def test_equal_columns_have_finite_gradients():
    kernel = tf.ones((4, 3))
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        value = tf.reduce_sum(distances_of_columns(kernel))
    np.testing.assert_array_equal(tape.gradient(value, kernel), np.zeros((4, 3)))


LOSSES = {
    "lipschitz margin": (
        losses.LipschitzMarginCrossentropy(0.3, 1.5, dtype="float64"),
        lambda z, y, m: statements.lipschitz_margin_crossentropy(z, y, 0.3, 1.5 * m),
    ),
    "certificate": (
        losses.CertificateRegularizedCrossentropy(0.5, 1.5, dtype="float64"),
        lambda z, y, m: statements.certificate_regularized_crossentropy(z, y, 0.5, 1.5 * m),
    ),
}


def _gradient(loss, layer, features):
    with tf.GradientTape() as tape:
        value = loss(LABELS, tf.cast(layer(features), tf.float64))
    return value, np.array(tape.gradient(value, layer.kernel))


def _statement(statement, kernel, features, constants_of):
    return np.mean(
        [
            statement(row @ kernel, label, statements.class_distances(constants_of, label))
            for row, label in zip(features, LABELS, strict=True)
        ]
    )


def _differences(function, kernel):
    gradient = np.zeros_like(kernel)
    for index in np.ndindex(kernel.shape):
        step = np.zeros_like(kernel)
        step[index] = 1e-6
        gradient[index] = (function(kernel + step) - function(kernel - step)) / 2e-6
    return gradient


@pytest.mark.parametrize(("name", "stopped"), [("lipschitz margin", True), ("certificate", False)])
def test_constants_are_those_of_the_present_kernel(name, stopped):
    loss, statement = LOSSES[name]
    layer = keras.layers.Dense(3, use_bias=False)
    model = _linear_model(layer)
    loss = loss.bind(model)
    for scale in (1.0, 2.0):
        layer.kernel.assign(scale * np.random.default_rng(2).normal(size=(4, 3)))
        kernel, features = np.array(layer.kernel, np.float64), FEATURES.astype(np.float64)
        value, gradient = _gradient(loss, layer, FEATURES)
        expected = _statement(statement, kernel, features, kernel)
        assert float(value) == pytest.approx(expected, rel=1e-6)

        def moved(present, kernel=kernel, features=features):
            constants_of = kernel if stopped else present
            return _statement(statement, present, features, constants_of)

        np.testing.assert_allclose(gradient, _differences(moved, kernel), atol=1e-5)


def test_orthogonal_last_layers_are_read():
    layer = layers.OrthogonalDense(3)
    loss = losses.LipschitzMarginCrossentropy(0.3, dtype="float64").bind(_linear_model(layer))
    # Its columns are orthonormal, so that all distances are the square root of 2.
    of_all = losses.LipschitzMarginCrossentropy(0.3, pairwise=False, dtype="float64")
    logits = np.random.default_rng(3).normal(size=(6, 3))
    np.testing.assert_allclose(loss(LABELS, logits), of_all(LABELS, logits), rtol=1e-6)


def test_classes_of_equal_weights_are_harmless():
    layer = keras.layers.Dense(3, kernel_initializer="zeros")
    model = _linear_model(layer)
    for loss, _ in LOSSES.values():
        value, gradient = _gradient(loss.bind(model), layer, FEATURES)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def _heads():
    inputs = keras.Input((4,))
    yield keras.layers.Dense(3, activation="relu")
    yield keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.ReLU()])
    yield keras.Sequential([inputs, keras.layers.Dense(5), keras.layers.Dense(3)])
    yield keras.Sequential([inputs, keras.layers.BatchNormalization(), keras.layers.Dense(3)])


@pytest.mark.parametrize("head", _heads())
@pytest.mark.parametrize("name", LOSSES)
def test_heads_without_known_constants_are_refused(name, head):
    model = _linear_model(head)
    loss, _ = LOSSES[name]
    with pytest.raises(ValueError, match=r"pairs of classes.*pairwise=False"):
        model.compile("sgd", loss)
    config = {**loss.get_config(), "pairwise": False}
    model.compile("sgd", type(loss).from_config(config))


def test_heads_without_other_weights_are_read():
    head = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dropout(0.1),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    losses.LipschitzMarginCrossentropy(0.3).bind(_linear_model(head))


@pytest.mark.parametrize("lipschitz", [0, -1.0, np.nan, np.inf, None])
def test_impossible_constants_are_refused(lipschitz):
    with pytest.raises(ValueError, match="`lipschitz` of Lipschitz.*above 0"):
        losses.LipschitzMarginCrossentropy(0.3, lipschitz)
    with pytest.raises(ValueError, match="`pairwise`"):
        losses.LipschitzMarginCrossentropy(0.3, 1.0, 2)


@pytest.mark.parametrize("wrong", [-0.1, np.nan, np.inf, None])
def test_impossible_weights_and_radii_are_refused(wrong):
    with pytest.raises(ValueError, match="`radius` of Lipschitz"):
        losses.LipschitzMarginCrossentropy(wrong)
    with pytest.raises(ValueError, match="`gamma` of Certificate"):
        losses.CertificateRegularizedCrossentropy(wrong)
