import numpy as np
import pytest

from lsrs_tf.layers import Standardization


def test_subtracts_and_divides_per_channel():
    images = np.random.default_rng(0).uniform(size=(2, 3, 3, 2)).astype(np.float32)
    layer = Standardization(mean=[0.5, 0.25], std=[0.2, 0.5])
    np.testing.assert_allclose(layer(images), (images - [0.5, 0.25]) / [0.2, 0.5], atol=1e-6)
    copy = Standardization.from_config(layer.get_config())
    np.testing.assert_array_equal(copy(images), layer(images))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (0.5, 0.0, "above 0"),
        (0.5, [0.2, -0.1], "above 0"),
        (0.5, np.nan, "finite"),
        ([[0.5]], 1.0, "per channel"),
    ],
)
def test_bad_arguments_are_named(mean, std, message):
    with pytest.raises(ValueError, match=message):
        Standardization(mean, std)


def test_wrong_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="3 channels"):
        Standardization([0.5, 0.5], 1.0).build((None, 4, 4, 3))
