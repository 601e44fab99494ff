import keras
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import checkpoints, optimizer_flags, train
from lsrs_tf import models

IMAGES = np.random.default_rng(0).uniform(size=(24, 8, 8, 1)).astype(np.float32)
LABELS = np.arange(24) % 10


@pytest.fixture(autouse=True)
def _parsed():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _compiled(model):
    model.compile(
        optimizer_flags.sgd(3, 1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def test_default_is_plain_momentum():
    config = optimizer_flags.sgd(3, 1).get_config()
    expected = keras.optimizers.SGD(0.01, momentum=0.9).get_config()
    assert {**config, "name": None} == {**expected, "name": None}
    model = models.convnet(width=2)
    optimizer_flags.add_weight_decay(model.head)
    assert not model.losses


def test_weight_decay_is_of_the_kernels_of_the_head_and_is_saved(tmp_path):
    model = models.convnet(width=2, num_classes=10)
    with flagsaver.flagsaver(weight_decay=0.02):
        optimizer_flags.add_weight_decay(model.head)
    model.save(tmp_path / "model.keras")
    kernels = [weight for weight in model.head.trainable_weights if len(weight.shape) > 1]
    expected = 0.01 * sum(float(np.sum(np.square(kernel))) for kernel in kernels)
    assert len(kernels) == 3
    for each in (model, checkpoints.load_model(tmp_path / "model.keras")):
        assert float(sum(each.losses)) == pytest.approx(expected, rel=1e-5)
        assert not each.encoder.losses


def test_trained_model_has_the_average_of_the_weights(tmp_path):
    with flagsaver.flagsaver(ema_momentum=0.5):
        model = _compiled(models.convnet(width=2))
    average = kernel = None
    for _ in range(3):
        model.train_on_batch(IMAGES, LABELS)
        kernel = np.array(model.head.trainable_weights[0])
        average = kernel if average is None else 0.5 * average + 0.5 * kernel
    # A training that was interrupted before the last model was written.
    model.save(tmp_path / "model.keras")
    for each in (model, checkpoints.load_model(tmp_path / "model.keras")):
        np.testing.assert_array_equal(each.head.trainable_weights[0], kernel)
        each.optimizer.finalize_variable_values(each.trainable_weights)
        np.testing.assert_allclose(each.head.trainable_weights[0], average, atol=1e-6)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_trainings_in_half_precision_go_on(tmp_path, precision):
    with flagsaver.flagsaver(precision=precision, ema_momentum=0.9), optimizer_flags.precision():
        model = _compiled(models.convnet(width=2))
        model.fit(IMAGES, LABELS, verbose=0)
        model.save(tmp_path / "model.keras")
        model = checkpoints.load_model(tmp_path / "model.keras")
        assert np.isfinite(model.fit(IMAGES, LABELS, verbose=0).history["loss"]).all()
        model.optimizer.finalize_variable_values(model.trainable_weights)
    assert keras.config.dtype_policy().name == "float32"
    assert model(IMAGES).dtype == "float32"
    assert model.head.layers[1].compute_dtype == precision.removeprefix("mixed_")


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("step", 0.4, 0.04), ("cosine", 0.4, 0.0), ("one_cycle", 0.016, 1.6e-6)],
)
def test_rate_follows_the_schedule_of_the_flags(name, first, last):
    rates = {"learning_rate": 0.4, "learning_rate_decay_epochs": 1}
    with flagsaver.flagsaver(learning_rate_schedule=name, momentum=0.5, **rates):
        optimizer = optimizer_flags.sgd(10, 2)
    for step, rate in ((0, first), (20, last)):
        optimizer.iterations.assign(step)
        assert float(optimizer.learning_rate) == pytest.approx(rate, rel=1e-5, abs=1e-9)
    assert optimizer.momentum == 0.5


def test_all_flags_are_settings_of_a_run():
    assert {*optimizer_flags.NAMES} < {*train.SETTINGS}
    for name, value in optimizer_flags.DEFAULTS.items():
        assert flags.FLAGS[name].default == value
        assert train.DEFAULTS[name] == value
