import keras
import pytest

from lsrs_tf import layers, models
from lsrs_tf.evaluation import multiply_adds


def test_multiply_adds_are_those_of_the_paper():
    # In millions, as the paper's layers have them.
    for depth, millions in ((0, 556), (9, 268), (13, 134)):
        head = models.resnet18(depth, width=64).head
        assert multiply_adds(head) == pytest.approx(millions * 1e6, rel=3e-3)


def test_kernels_count_once_at_each_place():
    inner = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(6, 3, groups=2)])
    head = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            inner,
            keras.layers.ReLU(),
            keras.layers.Dense(5),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    assert multiply_adds(head) == 36 * 9 * 2 * 6 + 36 * 6 * 5 + 36 * 5 * 2


def test_what_cannot_be_looked_into_is_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    for network in (Own(), keras.layers.Dense(3)):
        with pytest.raises(ValueError, match="multiply_adds needs built layers"):
            multiply_adds(network)


def test_single_layers_and_loaded_models_have_costs(tmp_path):
    layer = keras.layers.Dense(3)
    layer.build((None, 7))
    assert multiply_adds(layer) == 21
    model = models.convnet(width=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert multiply_adds(loaded.head) == multiply_adds(model.head) > 0


def test_layers_without_products_cost_nothing():
    assert multiply_adds(keras.Sequential([keras.Input((4, 4, 2)), layers.GroupSort()])) == 0
