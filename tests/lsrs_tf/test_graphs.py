import keras
import pytest

from lsrs_tf import graphs


class _Sequential(keras.Sequential):
    pass


class _Model(keras.Model):
    pass


def test_kinds_are_told_apart_from_their_subclasses():
    images = keras.Input((3,))
    values = keras.layers.Identity()(images)
    assert graphs.is_functional(keras.Model(images, values))
    assert not graphs.is_functional(_Model(images, values))
    assert not graphs.is_functional(keras.Sequential([images, keras.layers.Identity()]))
    assert graphs.is_sequential(keras.Sequential([keras.layers.Identity()]))
    assert not graphs.is_sequential(_Sequential([keras.layers.Identity()]))


def test_nodes_come_in_the_order_of_the_data():
    images = keras.Input((3,))
    first, second = keras.layers.Identity(name="first"), keras.layers.Identity(name="second")
    total = keras.layers.Add(name="add")([first(images), second(first(images))])
    names = [layer.name for layer, _, _ in graphs.nodes_in_order(keras.Model(images, total))][1:]
    assert names[-1] == "add"
    assert names.index("first") < names.index("second")


def test_extra_arguments_and_operations_are_refused():
    images = keras.Input((3,))
    with pytest.raises(ValueError, match="extra arguments"):
        graphs.nodes_in_order(
            keras.Model(images, keras.layers.GaussianNoise(1.0)(images, training=True))
        )
    with pytest.raises(ValueError, match="not a layer"):
        graphs.nodes_in_order(keras.Model(images, keras.ops.relu(images)))
