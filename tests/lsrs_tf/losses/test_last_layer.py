import keras
import pytest

from lsrs_tf import layers, losses, models
from lsrs_tf.losses.last_layer import last_layer


def _functional(*last):
    inputs = keras.Input((4,))
    outputs = inputs
    for layer in last:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


DENSE = keras.layers.Dense(3)
MODELS = {
    "layer": lambda: DENSE,
    "sequential": lambda: keras.Sequential([keras.layers.Flatten(), DENSE]),
    "nested": lambda: keras.Sequential([layers.GroupSort(), keras.Sequential([DENSE])]),
    "functional": lambda: _functional(keras.layers.ReLU(), DENSE),
    "cast": lambda: _functional(DENSE, keras.layers.Activation("linear", dtype="float32")),
    "identity": lambda: keras.Sequential([DENSE, keras.layers.Identity()]),
    "functional in sequential": lambda: keras.Sequential([_functional(DENSE)]),
    "smoothed": lambda: models.LatentSmoothingModel(layers.GroupSort(), DENSE, 0.25),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_last_layer_is_found(make):
    assert last_layer(make()) is DENSE


@pytest.mark.parametrize(
    ("last", "name"),
    [
        ([keras.layers.Softmax()], "softmax"),
        ([keras.layers.Dense(3, activation="softmax")], "softmax"),
        ([keras.layers.Dense(3, activation="sigmoid")], "sigmoid"),
        ([keras.layers.Activation("log_softmax")], "log_softmax"),
        ([keras.ops.softmax], "softmax"),
        ([keras.layers.Softmax(), keras.layers.Identity()], "softmax"),
    ],
)
def test_probabilities_are_refused(last, name):
    model = _functional(keras.layers.Dense(3), *last)
    for loss in (losses.OffsetCrossentropy(0.5), losses.MarginHinge(1.0)):
        with pytest.raises(ValueError, match=f"needs logits.* of a {name}. Remove"):
            loss.bind(model)


def test_logits_are_not_refused():
    losses.MarginHinge(1.0).bind(_functional(keras.layers.Softmax(), keras.layers.Dense(3)))
