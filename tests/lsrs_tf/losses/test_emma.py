import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, losses, models
from tests.lsrs_tf.losses import statements


def _schedule(start=0.1, end=3.0, steps=4):
    return keras.optimizers.schedules.PolynomialDecay(start, steps, end)


def _model():
    encoder = keras.Sequential([keras.Input((4,)), layers.OrthogonalDense(4)])
    head = keras.layers.Dense(3)
    head.build((None, 4))
    return models.LatentSmoothingModel(encoder, head, 0.05)


def _data():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(8, 4)).astype(np.float32), rng.integers(3, size=8)


def test_no_gradient_flows_through_the_shares_but_through_the_constants():
    layer = keras.layers.Dense(3, use_bias=False)
    layer.build((None, 4))
    model = models.LatentSmoothingModel(layers.GroupSort(), layer, 0.05)
    features, labels = _data()
    # Some classes are in reach, and some are not.
    layer.kernel.assign(np.random.default_rng(2).normal(size=(4, 3)))
    loss = losses.EMMA(0.4, dtype="float64").bind(model)
    with tf.GradientTape() as tape:
        value = loss(labels, tf.cast(layer(features), tf.float64))
    gradient = tape.gradient(value, layer.kernel)
    features = features.astype(np.float64)
    kernel = np.array(layer.kernel, np.float64)
    shares = [
        statements.emma_shares(row @ kernel, label, 0.4, statements.class_distances(kernel, label))
        for row, label in zip(features, labels, strict=True)
    ]
    assert {0.01, 1.0} < set(np.concatenate(shares))

    def statement(present):
        return np.mean(
            [
                statements.emma(
                    row @ present, label, 0.4, statements.class_distances(present, label), fixed
                )
                for row, label, fixed in zip(features, labels, shares, strict=True)
            ]
        )

    assert float(value) == pytest.approx(statement(kernel), rel=1e-6)
    expected = np.zeros_like(kernel)
    for index in np.ndindex(kernel.shape):
        step = np.zeros_like(kernel)
        step[index] = 1e-6
        expected[index] = (statement(kernel + step) - statement(kernel - step)) / 2e-6
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_radius_grows_with_the_steps_of_the_optimizer():
    model = _model()
    model.compile(keras.optimizers.SGD(0.0), losses.EMMA(_schedule()))
    images, labels = _data()
    logits = np.array(model(images))
    for step in range(6):
        radius = 0.1 + 2.9 * min(step / 4, 1)
        assert float(model.loss.present_radius()) == pytest.approx(radius, rel=1e-6)
        fixed = losses.EMMA(radius).bind(model)(labels, logits)
        # The step that was compiled first must not keep its radius.
        assert model.evaluate(images, labels, verbose=0) == pytest.approx(float(fixed), rel=1e-5)
        model.fit(images, labels, batch_size=8, verbose=0)


def test_schedule_goes_on_where_a_saved_training_stopped(tmp_path):
    model = _model()
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), losses.EMMA(_schedule()))
    images, labels = _data()
    model.fit(images, labels, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(loaded.loss.present_radius()) == pytest.approx(0.1 + 2.9 * 2 / 4, rel=1e-6)
    assert loaded.loss.get_config() == model.loss.get_config()


def test_loss_scaling_keeps_the_schedule():
    model = _model()
    inner = keras.optimizers.SGD(0.01)
    model.compile(keras.optimizers.LossScaleOptimizer(inner), losses.EMMA(_schedule()))
    images, labels = _data()
    model.fit(images, labels, batch_size=8, verbose=0)
    assert float(model.loss.present_radius()) == pytest.approx(0.825, rel=1e-6)


def test_schedule_needs_a_model_with_an_optimizer():
    loss = losses.EMMA(_schedule(), pairwise=False)
    with pytest.raises(ValueError, match="steps of the optimizer.*not bound"):
        loss([0], [[1.0, 0.0]])
    model = _model()
    with pytest.raises(ValueError, match="has none. Compile the model"):
        loss.bind(model)([0], [[1.0, 0.0, 0.0]])


@pytest.mark.parametrize("radius", [0, -0.1, np.nan, np.inf, None, "1"])
def test_impossible_radii_are_refused(radius):
    with pytest.raises(ValueError, match="`radius` of EMMA.*above 0"):
        losses.EMMA(radius)
