import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.layers import OrthogonalDense
from tests.oracles import singular_values


@pytest.mark.parametrize(("inputs", "units"), [(6, 6), (3, 8), (8, 3), (1, 1)])
def test_singular_values_are_one_after_training(inputs, units):
    layer = OrthogonalDense(units)
    data, target = keras.random.normal((16, inputs)), keras.random.normal((16, units))
    layer(data)
    before = keras.ops.convert_to_numpy(layer.kernel)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    for _ in range(25):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((layer(data) - target) ** 2)
        optimizer.apply(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights)
    if inputs > 1:
        assert np.abs(keras.ops.convert_to_numpy(layer.kernel) - before).max() > 1e-3
    np.testing.assert_allclose(singular_values(layer, (inputs,)), 1, atol=2e-6)


def test_leading_dimensions_are_kept():
    assert OrthogonalDense(5)(np.zeros((2, 3, 4), np.float32)).shape == (2, 3, 5)


def test_config_and_file_round_trip(tmp_path):
    model = keras.Sequential([keras.Input((4,)), OrthogonalDense(3, bias_initializer="ones")])
    layer = model.layers[0]
    assert OrthogonalDense.from_config(layer.get_config()).get_config() == layer.get_config()
    model.save(tmp_path / "model.keras")
    data = keras.random.normal((2, 4))
    np.testing.assert_array_equal(
        keras.models.load_model(tmp_path / "model.keras")(data), model(data)
    )


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="units"):
        OrthogonalDense(-1)
    with pytest.raises(ValueError, match="known last dimension"):
        OrthogonalDense(2).build((None, None))
