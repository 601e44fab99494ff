import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.layers import ConvexResidual, OrthogonalDense


def test_is_the_convex_combination():
    branch, shortcut = OrthogonalDense(3), OrthogonalDense(3)
    layer = ConvexResidual(branch, shortcut)
    inputs = keras.random.normal((4, 5))
    np.testing.assert_allclose(layer(inputs), (branch(inputs) + shortcut(inputs)) / 2, atol=1e-6)
    layer.logit.assign(np.log(3.0))
    expected = 0.75 * branch(inputs) + 0.25 * shortcut(inputs)
    np.testing.assert_allclose(layer(inputs), expected, atol=1e-6)


def test_initial_branch_weight():
    layer = ConvexResidual(keras.layers.Identity(), initial_branch_weight=0.2)
    layer.build((None, 3))
    assert float(keras.ops.sigmoid(layer.logit)) == pytest.approx(0.2)
    assert ConvexResidual.from_config(layer.get_config()).initial_branch_weight == 0.2


def test_identity_shortcut_and_trained_weight():
    layer = ConvexResidual(OrthogonalDense(3))
    inputs = keras.random.normal((4, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs) ** 3)
    gradients = tape.gradient(loss, layer.trainable_weights)
    assert len(gradients) == 4
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_training_reaches_the_branch():
    layer = ConvexResidual(keras.layers.Dropout(0.5))
    inputs = np.ones((1, 1000), np.float32)
    assert np.std(layer(inputs, training=True)) > 0.1
    assert np.std(layer(inputs)) == 0


@pytest.mark.parametrize("shortcut", [True, False])
def test_file_round_trip(tmp_path, shortcut):
    layer = ConvexResidual(OrthogonalDense(4), OrthogonalDense(4) if shortcut else None)
    model = keras.Sequential([keras.Input((4,)), layer])
    layer.logit.assign(1.5)
    model.save(tmp_path / "model.keras")
    inputs = keras.random.normal((2, 4))
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="branch"):
        ConvexResidual("relu")
    with pytest.raises(ValueError, match="initial_branch_weight"):
        ConvexResidual(OrthogonalDense(3), initial_branch_weight=1.0)
    with pytest.raises(ValueError, match="one output shape"):
        ConvexResidual(OrthogonalDense(3)).build((None, 4))
