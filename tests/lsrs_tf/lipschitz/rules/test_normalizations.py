"""Keras' Normalization, and its wrapper SpectralNormalization."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, lipschitz_bound, lipschitz_report, models
from lsrs_tf.models.freezing import freeze_encoder
from tests.oracles import jacobian

Normalization = keras.layers.Normalization
Spectral = keras.layers.SpectralNormalization
DATA = np.random.default_rng(0).normal([1, 2, 3], [0.1, 2, 5], size=(50, 4, 3)).astype(np.float32)


def _adapted(**arguments):
    layer = Normalization(**arguments)
    layer.adapt(DATA)
    return layer


CASES = [
    lambda: _adapted(),
    lambda: _adapted(invert=True),
    lambda: _adapted(axis=1),
    lambda: _adapted(axis=(1, 2)),
    lambda: _adapted(axis=None),
    lambda: _adapted(dtype="float64"),
    lambda: _adapted(dtype="mixed_bfloat16"),
    lambda: Normalization(mean=[0.4, 0.5, 0.6], variance=[0.01, 0.7, 0.3]),
    lambda: Normalization(mean=[0.4, 0.5, 0.6], variance=[0.01, 0.7, 0.3], dtype="mixed_float16"),
    lambda: Normalization(mean=0.3, variance=0.1),
    lambda: Normalization(mean=0.3, variance=0.1, axis=None, invert=True),
    # Keras divides by its epsilon at least.
    lambda: Normalization(mean=0.3, variance=0.0),
    lambda: Normalization(mean=[0.4, 0.5, 0.6], variance=[0.0, 0.7, 0.3], invert=True),
]


@pytest.mark.parametrize("make", CASES)
def test_normalization_has_its_largest_factor(make):
    layer = make()
    model = keras.Sequential([keras.Input((4, 3)), layer])
    frozen = freeze_encoder(model)
    norm = np.linalg.norm(jacobian(frozen, (4, 3)), 2)
    for bound in (lipschitz_bound(model), lipschitz_bound(frozen)):
        # The oracle cancels by the mean, and where it multiplies by 10^7.
        assert norm * (1 - 1e-8) <= bound <= norm * (1 + 1e-6)
    deviations = np.sqrt(keras.ops.convert_to_numpy(layer.variance).astype(np.float64))
    half = "16" in layer.compute_dtype
    expected = deviations.max() if layer.invert else 1 / max(deviations.min(), 1e-7)
    assert bound == pytest.approx(expected, rel=1e-2 if half else 1e-6)
    images = DATA[:5]
    tolerance = {"bfloat16": 0.1, "float16": 1e-2}.get(layer.compute_dtype, 1e-4)
    np.testing.assert_allclose(
        frozen(images), tf.cast(layer(images), tf.float64), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("make", CASES)
def test_claim_is_above_the_rounding_error_of_normalization(make):
    frozen = freeze_encoder(keras.Sequential([keras.Input((4, 3)), make()]))
    layer = frozen.layers[-1]
    images = np.random.default_rng(0).uniform(size=(20, 4, 3)).astype(np.float32)
    values = images.astype(np.longdouble)
    mean, variance = (
        keras.ops.convert_to_numpy(v).astype(np.longdouble) for v in (layer.mean, layer.variance)
    )
    divisor = np.maximum(np.sqrt(variance), keras.config.epsilon())
    exact = values * divisor + mean if layer.invert else (values - mean) / divisor
    error = np.sqrt(((frozen(images).numpy() - exact) ** 2).sum(axis=(1, 2))).max()
    assert error <= lipschitz_report(frozen).rounding_error < 1e-6


def test_normalization_is_folded_with_its_neighbours():
    model = keras.Sequential([keras.Input((4, 3)), _adapted(), keras.layers.Dense(3)])
    # The matrix undoes the normalization.
    model.layers[1].kernel.assign(np.diag(np.sqrt(np.ravel(model.layers[0].variance))))
    assert lipschitz_bound(model) == pytest.approx(1, abs=1e-6)


def test_frozen_normalization_is_saved(tmp_path):
    frozen = freeze_encoder(keras.Sequential([keras.Input((4, 3)), _adapted()]))
    frozen.save(tmp_path / "frozen.keras")
    loaded = keras.models.load_model(tmp_path / "frozen.keras")
    np.testing.assert_array_equal(loaded(DATA), frozen(DATA))
    assert lipschitz_bound(loaded) == lipschitz_bound(frozen)


def test_statistics_that_prove_nothing_are_refused():
    for mean, variance in ((0.0, -1.0), (0.0, np.nan), (np.inf, 1.0), (0.0, np.inf)):
        layer = Normalization(mean=mean, variance=variance, name="culprit")
        with pytest.raises(ValueError, match="culprit"):
            lipschitz_bound(keras.Sequential([keras.Input((3,)), layer]))
    layer = Normalization(axis=(0, 1), name="culprit")
    layer.build((2, 3))
    with pytest.raises(ValueError, match=r"culprit.*batch"):
        lipschitz_bound(layer, (2, 3))
    layer = _adapted(name="culprit")
    layer.adapt_variance.assign([1e-4, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"culprit.*finalize_state"):
        freeze_encoder(keras.Sequential([keras.Input((4, 3)), layer]))
    layer.finalize_state()
    model = keras.Sequential([keras.Input((4, 3)), layer])
    assert lipschitz_bound(freeze_encoder(model)) == pytest.approx(100, rel=1e-6)


WRAPPED = [
    (lambda: Spectral(keras.layers.Dense(4, activation="tanh")), (3,)),
    (lambda: Spectral(keras.layers.Conv2D(3, 3, padding="same"), power_iterations=3), (5, 4, 2)),
    (lambda: Spectral(keras.layers.Conv2DTranspose(3, 3, strides=2)), (3, 4, 2)),
    (lambda: Spectral(layers.OrthogonalConv2D(3, 3)), (5, 4, 2)),
    (lambda: Spectral(Spectral(keras.layers.Dense(4))), (3,)),
    (lambda: Spectral(keras.layers.Dense(4, dtype="float16")), (3,)),
]


@pytest.mark.parametrize(("make", "shape"), WRAPPED)
@pytest.mark.parametrize("steps", [0, 1, 20])
def test_spectral_normalization_is_bounded_with_the_kernel_that_is_there(make, shape, steps):
    layer = make()
    model = keras.Sequential([keras.Input(shape), layer])
    images = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    for _ in range(steps):
        layer(images, training=True)
    frozen = freeze_encoder(model)
    assert not any(isinstance(part, Spectral) for part in frozen.layers)
    # The layer inside may compute in half precision.
    tolerance = 5e-3 if layer.layer.compute_dtype == "float16" else 3e-6
    np.testing.assert_allclose(frozen(images), model(images), atol=tolerance)
    bound = lipschitz_bound(model)
    assert lipschitz_bound(frozen) == pytest.approx(bound, abs=1e-12)
    small = 1e-3 * np.random.default_rng(1).normal(size=(20, *shape))
    moved = (frozen(small) - frozen(0 * small)).numpy().reshape(20, -1)
    ratio = np.linalg.norm(moved, axis=1) / np.linalg.norm(small.reshape(20, -1), axis=1)
    assert ratio.max() <= bound * (1 + 1e-9)
    assert np.isfinite(lipschitz_report(frozen).rounding_error)


def test_estimate_of_the_power_iteration_is_not_believed():
    layer = Spectral(keras.layers.Conv2D(3, 3, padding="same", use_bias=False))
    model = keras.Sequential([keras.Input((8, 8, 2)), layer])
    layer.layer.kernel.assign(np.ones((3, 3, 2, 3)))
    for _ in range(50):
        layer(np.ones((1, 8, 8, 2), np.float32), training=True)
    # Its estimate is 1, of the reshaped kernel; the convolution stretches more.
    assert np.linalg.norm(np.reshape(layer.layer.kernel, [-1, 3]), 2) == pytest.approx(1)
    norm = np.linalg.norm(jacobian(freeze_encoder(model), (8, 8, 2)), 2)
    assert lipschitz_bound(model) >= norm > 2.5


def test_spectral_normalization_of_a_model_certifies():
    encoder = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            Spectral(keras.layers.Conv2D(2, 3, name="same")),
            Spectral(keras.layers.Conv2D(2, 3, name="same")),
        ]
    )
    head = keras.Sequential([keras.Input((2, 2, 2)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model = models.LatentSmoothingModel(encoder, head, 0.5)
    assert len(model.freeze_encoder().layers) == 3
    assert lipschitz_bound(model) > 0


def test_what_is_wrapped_must_be_known():
    class Mine(keras.layers.Dense):
        pass

    for inner in (Mine(3, name="culprit"), keras.layers.Embedding(5, 3, name="culprit")):
        layer = Spectral(inner)
        layer.build((None, 3))
        with pytest.raises(ValueError, match="culprit"):
            lipschitz_bound(layer, (None, 3))
    inner = keras.layers.Dense(3, name="culprit")
    model = keras.Sequential([keras.Input((3,)), Spectral(inner)])
    inner.call = lambda inputs: 7 * inputs
    for function in (lipschitz_bound, freeze_encoder):
        with pytest.raises(ValueError, match="culprit"):
            function(model)
