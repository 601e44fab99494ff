import math

import keras
import pytest
import tensorflow as tf

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


def _products_in_graph(network, shape):
    """Counts the multiply-adds of the matrix products that TensorFlow runs for one input."""
    function = tf.function(lambda images: network(images, training=False))
    graph = function.get_concrete_function(tf.TensorSpec([1, *shape], tf.float64)).graph
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("MatMul", "BatchMatMulV2"):
            transposed = "transpose_a" if operation.type == "MatMul" else "adj_x"
            inner = operation.inputs[0].shape[-2 if operation.get_attr(transposed) else -1]
            total += inner * math.prod(operation.outputs[0].shape)
    return total


@pytest.mark.parametrize("parametrization", ["cayley", "soc", "aol"])
def test_encoders_cost_what_they_run(parametrization):
    # Odd and even, high and wide; strides, residuals and 1 x 1 kernels.
    images = keras.Input((6, 10, 3))
    convolution = layers.convolution(parametrization)
    values = convolution(5, 3)(images)
    branch = keras.Sequential([keras.Input((6, 10, 5)), convolution(8, 3, strides=2)])
    shortcut = keras.Sequential([keras.Input((6, 10, 5)), convolution(8, 1, strides=2)])
    values = layers.ConvexResidual(branch, shortcut)(values)
    values = layers.ConvexResidual(keras.Sequential([keras.Input((3, 5, 8)), convolution(8, 3)]))(
        layers.GroupSort()(values)
    )
    values = layers.OrthogonalDense(7)(keras.layers.Flatten()(values))
    values = layers.SDPLipschitzDense(7, hidden_units=9)(values)
    encoder = keras.Model(images, values)
    frozen = models.LatentSmoothingModel(encoder, keras.layers.Identity(), 0.25).freeze_encoder()
    assert multiply_adds(frozen) == multiply_adds(encoder) == _products_in_graph(frozen, (6, 10, 3))


def test_residual_convolutions_cost_two_convolutions():
    def cost(layer):
        layer.build((None, 6, 10, 4))
        return multiply_adds(layer)

    once = cost(layers.OrthogonalConv2D(4, 3))
    assert cost(layers.SDPLipschitzConv2D(4, 3)) == 2 * once
    # There and back; pointwise, a product of matrices at each pixel.
    assert cost(layers.SDPLipschitzConv2D(4, 1, hidden_filters=6)) == 2 * 60 * 4 * 6
    assert cost(layers.FixedResidualConv2D(4, 3)) == 2 * once


def test_spectral_normalization_costs_what_it_wraps():
    layer = keras.layers.SpectralNormalization(keras.layers.Conv2D(3, 3))
    layer.build((None, 5, 5, 2))
    assert multiply_adds(layer) == 9 * 9 * 2 * 3
