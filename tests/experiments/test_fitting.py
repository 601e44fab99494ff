import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import fitting


def test_models_are_built_to_size():
    model = fitting.build_model("resnet18", 1, 4, None, 7, (16, 16, 3), 0.5, "soc")
    assert model.compute_output_shape((None, 16, 16, 3)) == (None, 7)
    assert model.sigma == 0.5
    assert model.encoder.output_shape[-1] == 4


@pytest.mark.parametrize(
    ("name", "width", "widen_factor", "message"),
    [
        ("vgg", None, None, "Unknown model 'vgg'"),
        ("resnet18", 4, 2, "--width, not by --widen_factor"),
        ("wide_resnet34", 4, 2, "--widen_factor, not by --width"),
    ],
)
def test_wrong_sizes_are_refused(name, width, widen_factor, message):
    with pytest.raises(ValueError, match=message):
        fitting.build_model(name, 0, width, widen_factor, 10, (32, 32, 3), 0.25, "cayley")


def test_fraction_replaced_is_the_papers():
    assert fitting.fraction_replaced("resnet18", 9, "cayley") == "9/18"
    assert fitting.fraction_replaced("wide_resnet34", 16, "soc") == "16/34 soc"
    assert fitting.fraction_replaced("resnet18", 0, "soc") == "0/18"


def test_step_decay_divides_by_ten():
    schedule = fitting.step_decay(0.01, 30, 100, 100)
    for epoch, rate in [(0, 0.01), (29, 0.01), (31, 0.001), (61, 1e-4), (91, 1e-5)]:
        assert float(schedule(epoch * 100)) == pytest.approx(rate)
    assert fitting.step_decay(0.01, 30, 100, 30) == 0.01


def test_cosine_decay_ends_at_nothing():
    schedule = fitting.cosine_decay(0.1, 100)
    for step, rate in [(0, 0.1), (50, 0.05), (100, 0.0)]:
        assert float(schedule(step)) == pytest.approx(rate, abs=1e-8)


def test_one_cycle_rises_and_falls():
    schedule = fitting.one_cycle(0.5, 100)
    for step, rate in [(0, 0.02), (15, 0.26), (30, 0.5), (65, 0.25), (100, 2e-6)]:
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_shortest_trainings_have_a_rate(steps):
    for schedule in (fitting.cosine_decay(0.5, steps), fitting.one_cycle(0.5, steps)):
        for step in range(steps + 1):
            assert 0 <= float(schedule(step)) <= 0.5


def test_divergence_is_an_error_and_leaves_no_checkpoint(tmp_path):
    model = fitting.build_model("convnet", 0, 4, None, 10, (8, 8, 1), 0.25, "cayley")
    model.compile(
        keras.optimizers.SGD(1e30), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    images = np.random.default_rng(0).uniform(size=(64, 8, 8, 1)).astype(np.float32)
    train = tf.data.Dataset.from_tensor_slices((images, np.arange(64) % 10)).batch(8)
    with pytest.raises(ValueError, match="diverged.*--learning_rate"):
        fitting.fit(model, train, 1, tmp_path, 0, None)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("schedule", [fitting.cosine_decay, fitting.one_cycle])
def test_schedules_go_on_where_a_saved_training_stopped(tmp_path, schedule):
    model = fitting.build_model("convnet", 0, 4, None, 10, (8, 8, 1), 0.25, "cayley")
    model.compile(
        keras.optimizers.SGD(schedule(0.1, 10)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images = np.random.default_rng(0).uniform(size=(24, 8, 8, 1)).astype(np.float32)
    model.fit(images, np.arange(24) % 10, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = float(schedule(0.1, 10)(3))
    assert float(loaded.optimizer.learning_rate) == pytest.approx(expected)
