"""Losses and the models that they are compiled with."""

import warnings

import keras
import numpy as np
import pytest

from lsrs_tf import layers, losses, models

LOSSES = {
    "offset": lambda: losses.OffsetCrossentropy(0.4),
    "hinge": lambda: losses.MarginHinge(1.0),
    "lipschitz margin": lambda: losses.LipschitzMarginCrossentropy(0.2),
    "certificate": lambda: losses.CertificateRegularizedCrossentropy(0.5),
    "emma": lambda: losses.EMMA(keras.optimizers.schedules.PolynomialDecay(0.01, 12, 0.2)),
}
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 48)
IMAGES = RNG.uniform(0, 0.3, size=(48, 4, 4, 1)).astype(np.float32)
IMAGES[np.arange(48), LABELS] += 0.6


def _model(built=True):
    encoder = keras.Sequential([layers.OrthogonalConv2D(2, 3), layers.GroupSort()])
    head = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, dtype="float32")])
    model = models.LatentSmoothingModel(encoder, head, 0.05)
    if built:
        model.build((None, 4, 4, 1))
    return model


@pytest.fixture(params=LOSSES)
def loss(request):
    return LOSSES[request.param]()


@pytest.mark.parametrize("built", [True, False])
def test_training_lowers_the_loss(loss, built):
    keras.utils.set_random_seed(0)
    model = _model(built)
    model.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
    history = model.fit(IMAGES, LABELS, epochs=4, batch_size=16, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert "accuracy" in history


def test_saved_models_are_bound_again(loss, tmp_path):
    model = _model()
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
    # Else the first step does it, for which it is traced twice.
    model.optimizer.build(model.trainable_variables)
    model.fit(IMAGES, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = model.evaluate(IMAGES, LABELS, verbose=0)
    assert loaded.evaluate(IMAGES, LABELS, verbose=0) == pytest.approx(expected, rel=1e-6)
    assert loaded.loss.bound_model("anything") is loaded
    assert model.loss.bound_model("anything") is model
    for left, right in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(left, right)
    loaded.fit(IMAGES, LABELS, verbose=0)


def test_one_loss_may_train_two_models():
    loss = losses.LipschitzMarginCrossentropy(0.2)
    first, second = _model(), _model()
    for model in (first, second):
        model.compile("sgd", loss)
    assert first.loss.bound_model("anything") is first
    assert second.loss.bound_model("anything") is second


def test_unbound_losses_say_what_to_do():
    with pytest.raises(ValueError, match=r"not bound.*Compile a .*loss\.bind\(model\)"):
        losses.LipschitzMarginCrossentropy(0.2)([0], [[1.0, 0.0]])


def test_models_of_keras_are_compiled_with_a_bound_loss(loss):
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile("sgd", loss.bind(model))
    model.fit(IMAGES, LABELS, verbose=0)


def test_losses_by_name_and_none_at_all_still_compile():
    model = _model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert model.loss == "sparse_categorical_crossentropy"
    model.compile("sgd", [LOSSES["offset"]()])
    model.compile("sgd")


def test_logits_of_another_model_are_refused():
    loss = losses.LipschitzMarginCrossentropy(0.2).bind(model := _model())
    with pytest.raises(ValueError, match="model of 3 classes.*logits of 2 classes"):
        loss([0], [[1.0, 0.0]])
    del model


def test_mixed_precision(loss):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = _model()
        model.compile(keras.optimizers.SGD(0.05), loss)
        model.optimizer.build(model.trainable_variables)
        assert np.isfinite(model.fit(IMAGES, LABELS, verbose=0).history["loss"][0])
    finally:
        keras.mixed_precision.set_global_policy("float32")
