import keras
import numpy as np
import pytest

from lsrs_tf import lipschitz_bound
from lsrs_tf.layers import HouseholderActivation


def _with_angles(angles, dtype="float64"):
    layer = HouseholderActivation(dtype=dtype)
    layer.build((None, 2 * len(angles)))
    layer.angle.assign(angles)
    return layer


def test_is_the_published_function():
    rng = np.random.default_rng(0)
    angles = rng.uniform(-7, 7, size=5)
    values = rng.normal(size=(100, 10))
    found = _with_angles(angles)(values).numpy().reshape(100, 5, 2)
    pairs = values.reshape(100, 5, 2)
    for index, angle in enumerate(angles):
        reflection = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
        stays = pairs[:, index, 0] * np.sin(angle / 2) - pairs[:, index, 1] * np.cos(angle / 2) > 0
        expected = np.where(stays[:, np.newaxis], pairs[:, index], pairs[:, index] @ reflection.T)
        np.testing.assert_allclose(found[:, index], expected, atol=1e-13)


def test_untrained_it_sorts_downwards():
    values = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
    expected = -np.sort(-values.reshape(3, 4, 3, 2), axis=-1).reshape(values.shape)
    np.testing.assert_allclose(HouseholderActivation()(values), expected, atol=1e-6)


def test_keeps_norms_and_moves_nothing_apart():
    layer = _with_angles(np.random.default_rng(0).uniform(-7, 7, size=3))
    left, step = np.random.default_rng(1).normal(size=(2, 500, 6))
    right = left + step * 10.0 ** -(np.arange(500) % 6).reshape(-1, 1)
    np.testing.assert_allclose(
        np.linalg.norm(layer(left), axis=1), np.linalg.norm(left, axis=1), rtol=1e-13
    )
    moved = np.linalg.norm((layer(left) - layer(right)).numpy(), axis=1)
    distance = np.linalg.norm(left - right, axis=1)
    assert np.all(moved <= lipschitz_bound(layer) * distance * (1 + 1e-9))


def test_angle_is_trained_and_saved(tmp_path):
    model = keras.Sequential([keras.Input((4,)), HouseholderActivation("random_normal")])
    model.compile("sgd", "mse")
    before = model.layers[0].angle.numpy()
    data = np.random.default_rng(0).normal(size=(32, 4))
    model.fit(data, -data, verbose=0)
    assert np.abs(model.layers[0].angle.numpy() - before).min() > 0
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(data), model(data))


@pytest.mark.parametrize("shape", [(None, 3), (None, None)])
def test_odd_or_unknown_channels_are_refused(shape):
    with pytest.raises(ValueError, match="even number of channels"):
        HouseholderActivation().build(shape)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_runs_under_mixed_precision(policy):
    layer = HouseholderActivation(dtype=policy)
    assert layer(np.ones((2, 4), np.float32)).dtype == layer.compute_dtype
