import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import lipschitz_bound, lipschitz_report
from lsrs_tf.layers import ScaledAveragePooling2D
from lsrs_tf.models.freezing import freeze_encoder
from tests.oracles import jacobian

SIZES = [1, 2, 3, (1, 6), (3, 2), 6]


@pytest.mark.parametrize("pool_size", SIZES)
def test_every_singular_value_is_one(pool_size):
    layer = ScaledAveragePooling2D(pool_size, dtype="float64")
    layer.build((None, 6, 6, 2))
    matrix = jacobian(layer, (6, 6, 2))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-14)
    bound = lipschitz_bound(layer)
    assert np.linalg.norm(matrix, 2) <= bound * (1 + 1e-14)
    assert bound <= 1 + 1e-15


def test_norm_of_square_windows_is_exactly_one():
    for size in (1, 2, 3, 4, 7):
        layer = ScaledAveragePooling2D(size)
        assert lipschitz_bound(layer, (None, 84, 84, 1)) == 1.0


def test_is_keras_average_times_the_root():
    images = np.random.default_rng(0).normal(size=(3, 6, 8, 5)).astype(np.float32)
    expected = np.sqrt(6) * keras.layers.AveragePooling2D((3, 2))(images).numpy()
    layer = ScaledAveragePooling2D((3, 2))
    np.testing.assert_allclose(layer(images), expected, atol=1e-6)
    np.testing.assert_allclose(tf.function(layer, jit_compile=True)(images), expected, atol=1e-6)
    np.testing.assert_allclose(freeze_encoder(layer)(images), expected, atol=1e-6)
    assert layer.compute_output_shape((None, 6, 8, 5)) == (None, 2, 4, 5)
    assert ScaledAveragePooling2D(dtype="mixed_bfloat16")(images).dtype == "bfloat16"


def test_claim_is_above_the_rounding_error():
    images = np.random.default_rng(0).uniform(size=(20, 9, 6, 2)).astype(np.float32)
    for size in ((3, 3), (9, 6), (3, 2)):
        encoder = keras.Sequential([keras.Input((9, 6, 2)), ScaledAveragePooling2D(size)])
        frozen = freeze_encoder(encoder)
        windows = images.astype(np.longdouble).reshape(
            20, 9 // size[0], size[0], 6 // size[1], size[1], 2
        )
        exact = windows.sum(axis=(2, 4)) / np.sqrt(np.longdouble(size[0] * size[1]))
        error = np.sqrt(((frozen(images).numpy() - exact) ** 2).sum(axis=(1, 2, 3))).max()
        assert error <= lipschitz_report(frozen).rounding_error < 1e-12


def test_config_and_file_round_trip(tmp_path):
    model = keras.Sequential([keras.Input((4, 6, 1)), ScaledAveragePooling2D((2, 3))])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].pool_size == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"pool_size": 0}, (None, 4, 4, 1), "pool_size"),
        ({"pool_size": 2.5}, (None, 4, 4, 1), "pool_size"),
        ({"pool_size": 2, "strides": 1}, (None, 4, 4, 1), "no argument `strides`"),
        ({"pool_size": 2}, (None, 5, 4, 1), "windows divide"),
        ({"pool_size": 2}, (None, None, 4, 1), "known height"),
    ],
)
def test_bad_arguments_are_named(arguments, shape, message):
    with pytest.raises(ValueError, match=message):
        ScaledAveragePooling2D(**arguments).build(shape)
