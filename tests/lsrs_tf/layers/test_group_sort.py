import keras
import numpy as np
import pytest

from lsrs_tf.layers import GroupSort


@pytest.mark.parametrize("group_size", [1, 2, 3, 6])
def test_sorts_each_group_of_neighbours(group_size):
    inputs = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    expected = np.sort(inputs.reshape(4, 5, 6 // group_size, group_size), axis=-1)
    outputs = GroupSort(group_size)(inputs)
    np.testing.assert_array_equal(outputs, expected.reshape(inputs.shape))


@pytest.mark.parametrize("group_size", [2, 4])
def test_never_moves_two_inputs_apart(group_size):
    rng = np.random.default_rng(1)
    left = rng.normal(size=(500, 8))
    right = left + rng.normal(size=(500, 8)) * 10.0 ** rng.uniform(-3, 1, size=(500, 1))
    layer = GroupSort(group_size, dtype="float64")
    after = np.linalg.norm(layer(left).numpy() - layer(right).numpy(), axis=1)
    assert np.all(after <= np.linalg.norm(left - right, axis=1) * (1 + 1e-12))


def test_unknown_batch_size_and_config():
    model = keras.Sequential([keras.Input((4, 4, 6)), GroupSort(3)])
    assert model.output_shape == (None, 4, 4, 6)
    assert GroupSort.from_config(model.layers[0].get_config()).group_size == 3


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="group_size"):
        GroupSort(0)
    with pytest.raises(ValueError, match="divides"):
        GroupSort(2).build((None, 3))
