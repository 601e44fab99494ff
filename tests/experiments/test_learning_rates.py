import keras
import numpy as np
import pytest

from experiments import learning_rates
from lsrs_tf import models


def test_step_decay_divides_by_ten():
    schedule = learning_rates.step_decay(0.01, 30, 100, 100)
    for epoch, rate in [(0, 0.01), (29, 0.01), (31, 0.001), (61, 1e-4), (91, 1e-5)]:
        assert float(schedule(epoch * 100)) == pytest.approx(rate)
    assert learning_rates.step_decay(0.01, 30, 100, 30) == 0.01


def test_cosine_decay_ends_at_nothing():
    schedule = learning_rates.cosine_decay(0.1, 100)
    for step, rate in [(0, 0.1), (50, 0.05), (100, 0.0)]:
        assert float(schedule(step)) == pytest.approx(rate, abs=1e-8)


def test_one_cycle_rises_and_falls():
    schedule = learning_rates.one_cycle(0.5, 100)
    for step, rate in [(0, 0.02), (15, 0.26), (30, 0.5), (65, 0.25), (100, 2e-6)]:
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_shortest_trainings_have_a_rate(steps):
    for schedule in (learning_rates.cosine_decay(0.5, steps), learning_rates.one_cycle(0.5, steps)):
        for step in range(steps + 1):
            assert 0 <= float(schedule(step)) <= 0.5


@pytest.mark.parametrize("schedule", [learning_rates.cosine_decay, learning_rates.one_cycle])
def test_schedules_go_on_where_a_saved_training_stopped(tmp_path, schedule):
    model = models.convnet(orthogonal_layers=0, width=4)
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
