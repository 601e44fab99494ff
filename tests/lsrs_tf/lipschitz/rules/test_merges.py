import keras
import numpy as np
import pytest

from lsrs_tf import layers, lipschitz_bound
from lsrs_tf.lipschitz.rules.merges import MERGES


@pytest.mark.parametrize("merge", MERGES)
def test_bound_holds_for_pairs_of_images_and_is_reached_by_linear_ones(merge):
    images = keras.Input((3, 4))
    left = layers.Standardization(0.0, 0.5)(images)
    right = layers.Standardization(1.0, 0.25)(keras.layers.Permute((1, 2))(images))
    model = keras.Model(images, merge()([left, right]))
    bound = lipschitz_bound(model)
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 500, 3, 4)).astype(np.float32)
    moved = np.linalg.norm(np.reshape(model(first) - model(second), (500, -1)), axis=1)
    apart = np.linalg.norm((first - second).reshape(500, -1), axis=1)
    assert np.all(moved <= bound * apart * (1 + 1e-5))
    expected = {
        keras.layers.Add: 6.0,
        keras.layers.Subtract: 6.0,
        keras.layers.Average: 3.0,
    }.get(merge, np.sqrt(20))
    assert expected <= bound <= expected * (1 + 1e-12)


@pytest.mark.parametrize(
    "merge", [merge for merge in MERGES if merge is not keras.layers.Concatenate]
)
def test_inputs_of_unequal_shapes_are_refused(merge):
    images = keras.Input((4, 4, 2))
    column = keras.layers.Reshape((1, 1, 32))(images)
    wide = keras.layers.Reshape((1, 32, 1))(images)
    with pytest.raises(ValueError, match="different or unknown shapes"):
        lipschitz_bound(keras.Model(images, merge()([column, wide])))
