import keras
import numpy as np
import pytest

from lsrs_tf import layers, lipschitz_bound, models
from lsrs_tf.models.freezing import freeze_encoder
from tests.oracles import jacobian


def _encoder():
    return models.resnet18(orthogonal_layers=5, width=4, input_shape=(8, 8, 3)).encoder


def test_is_the_same_map_in_float64():
    encoder = _encoder()
    frozen = freeze_encoder(encoder)
    images = np.random.default_rng(0).uniform(size=(3, 8, 8, 3)).astype(np.float32)
    assert frozen(images).dtype == "float64"
    np.testing.assert_allclose(frozen(images), encoder(images), atol=2e-6)
    assert not frozen.trainable_weights


def test_singular_values_are_one_to_float64_precision():
    for shape, filters, strides in [((4, 5, 2), 2, 1), ((4, 4, 2), 5, 1), ((4, 6, 2), 3, 2)]:
        layer = layers.OrthogonalConv2D(filters, 2, strides=strides)
        layer.build((None, *shape))
        layer.gain.assign(3.0)
        values = np.linalg.svd(jacobian(freeze_encoder(layer), shape), compute_uv=False)
        np.testing.assert_allclose(values, 1, atol=1e-12)


def test_what_training_holds_as_a_whole_is_evaluated_once(monkeypatch):
    layer = layers.OrthogonalConv2D(4, 3)
    layer.build((None, 4, 4, 4))
    # In float32, 3 columns of 4 frequencies of matrices of 8 x 4 numbers take 1,536 bytes.
    for limit, stored in ((1536, True), (1535, False)):
        monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", limit)
        frozen = freeze_encoder(layer)
        assert isinstance(frozen.layers[-1], layers.SpectralConv2D) == stored
        assert isinstance(frozen.layers[-1], layers.OrthogonalConv2D) != stored
        assert lipschitz_bound(frozen) == pytest.approx(1, abs=1e-11)


def test_nothing_is_rounded_to_float32_on_the_way():
    inner = keras.Sequential([keras.Input((4, 4, 2)), layers.OrthogonalConv2D(4, 3)])
    residual = layers.ConvexResidual(inner, keras.Sequential([inner]))
    frozen = freeze_encoder(keras.Sequential([keras.Input((4, 4, 2)), inner]))
    residual.build((None, 4, 4, 2))
    rng = np.random.default_rng(0)
    images, step = rng.uniform(size=(2, 1, 4, 4, 2))
    step *= 1e-9 / np.linalg.norm(step)
    for model in (frozen, freeze_encoder(residual)):
        moved = np.linalg.norm(model(images + step).numpy() - model(images).numpy())
        assert moved == pytest.approx(1e-9, rel=1e-5)


def test_snapshot_is_not_reached_by_later_changes():
    encoder = _encoder()
    frozen = freeze_encoder(encoder)
    images = np.random.default_rng(0).uniform(size=(1, 8, 8, 3)).astype(np.float32)
    before = frozen(images).numpy()
    encoder.set_weights([weight + 0.1 for weight in encoder.get_weights()])
    np.testing.assert_array_equal(frozen(images), before)
    assert np.abs(freeze_encoder(encoder)(images).numpy() - before).max() > 1e-3


def test_all_weights_are_carried_over():
    inner = keras.Sequential([keras.Input((4, 4, 2)), layers.OrthogonalConv2D(2, 3)])
    shortcut = layers.OrthogonalConv2D(2, 1)
    images = keras.Input((4, 4, 2))
    values = layers.Standardization([0.5, 0.4], [0.3, 0.2])(images)
    residual = layers.ConvexResidual(inner, shortcut)
    values = layers.GroupSort()(residual(values))
    values = layers.OrthogonalDense(7)(keras.layers.Flatten()(values))
    encoder = keras.Model(images, values)
    encoder.set_weights(
        [np.random.default_rng(1).normal(size=w.shape) for w in encoder.get_weights()]
    )
    inputs = np.random.default_rng(0).uniform(size=(3, 4, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(freeze_encoder(encoder)(inputs), encoder(inputs), atol=1e-5)


def test_single_layer_becomes_a_model():
    layer = layers.OrthogonalDense(3)
    layer.build((None, 4))
    frozen = freeze_encoder(layer)
    assert frozen.input_shape == (None, 4)
    np.testing.assert_allclose(frozen(np.eye(4)), layer(np.eye(4)), atol=1e-6)


def test_residual_of_layers_without_weights():
    layer = layers.ConvexResidual(keras.layers.Identity(), keras.layers.Dropout(0.5))
    encoder = keras.Sequential([keras.Input((3,)), layer])
    np.testing.assert_array_equal(freeze_encoder(encoder)(np.eye(3)), np.eye(3))


def test_shared_layer_stays_shared_and_single_inputs_can_be_merged():
    images = keras.Input((3,))
    layer = layers.OrthogonalDense(3)
    total = keras.layers.Concatenate()([layer(layer(images))])
    frozen = freeze_encoder(keras.Model(images, total))
    assert len(frozen.weights) == 2
    np.testing.assert_allclose(frozen(np.eye(3)), layer(layer(np.eye(3))), atol=1e-6)


def test_dense_transform_is_evaluated_once():
    encoder = keras.Sequential([keras.Input((4,)), layers.OrthogonalDense(4)])
    frozen = freeze_encoder(encoder)
    kernel = frozen.layers[-1].get_weights()[0]
    assert isinstance(frozen.layers[-1], layers.FixedDense)
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(4), atol=1e-14)


def test_encoder_that_cannot_be_frozen_is_refused():
    with pytest.raises(ValueError, match="has not been built"):
        freeze_encoder(layers.OrthogonalDense(3))

    with pytest.raises(ValueError, match=r"keras\.Input"):
        freeze_encoder(keras.layers.Identity())

    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    model = Subclassed()
    model(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="Subclassed"):
        freeze_encoder(model)


def test_function_that_bears_the_name_of_an_activation_is_refused():
    def relu(values):
        return 7 * values

    for layer in (keras.layers.Activation(relu, name="culprit"),
                  keras.layers.Dense(3, activation=relu, name="culprit")):  # fmt: skip
        with pytest.raises(ValueError, match="culprit"):
            freeze_encoder(keras.Sequential([keras.Input((3,)), layer]))


def test_transform_that_overflows_is_refused_by_name():
    layer = layers.OrthogonalDense(5, name="culprit", dtype="float64")
    encoder = keras.Sequential([keras.Input((3,)), layer])
    layer.gain.assign(1e200)
    try:
        frozen = freeze_encoder(encoder)
    except ValueError as error:
        assert "culprit" in str(error)
    else:
        # Some versions of TensorFlow solve it to numbers that are not finite.
        assert not np.all(np.isfinite(frozen.layers[-1].get_weights()[0]))


def test_plain_keras_layers_are_frozen_in_float64():
    encoder = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(4, 3, activation="silu"),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="tanh"),
        ]
    )
    frozen = freeze_encoder(encoder)
    images = np.random.default_rng(0).uniform(size=(2, 6, 6, 3)).astype(np.float32)
    assert frozen(images).dtype == "float64"
    np.testing.assert_allclose(frozen(images), encoder(images), atol=1e-6)
