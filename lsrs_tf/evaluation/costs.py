"""What a pass of a network costs, whatever the machine."""

import math
from typing import Any

import keras

from lsrs_tf import layers
from lsrs_tf.graphs import is_functional, is_sequential

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def multiply_adds(network: keras.Layer) -> int:
    """Returns the multiply-adds of convolutions and dense layers for one input.

    For the head of a smoothed model it is the cost of a vote; for its encoder, trained or frozen,
    what an image costs once. Circular convolutions count as they are evaluated: the real products
    of the Fourier transforms and, at each frequency, of the matrix. What makes such matrices of the
    weights is not counted: it is the same for any number of images, and in frozen encoders mostly
    done. Neither are additions, normalizations and activations, nor layers of other kinds.

    Args:
        network: built layer, or sequential or functional model, to any depth.

    Raises:
        ValueError: if something in it is a model of another kind, whose layers are unknown, or is
            not built.

    Examples:
        >>> head = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(5, 3)])
        >>> multiply_adds(head)
        540
    """
    if is_sequential(network) or is_functional(network):
        return sum(multiply_adds(layer) for layer in network.layers)
    if isinstance(network, keras.Model) or not network.built:
        raise ValueError(
            "multiply_adds needs built layers, and sequential or functional models. Received: "
            f"'{network.name}' ({type(network).__name__}, built={network.built})."
        )
    if type(network) in _CONVOLUTIONS:
        # The shape that it was built for; a kernel of groups holds the channels of one.
        shape = network.compute_output_shape(_input_shape(network))
        return math.prod(shape[1:-1]) * math.prod(network.kernel.shape)
    if isinstance(network, layers.LipschitzConv2D | layers.SpectralConv2D):
        return _circular_convolution(network)
    if isinstance(network, layers.ConvexResidual):
        shortcut = 0 if network.shortcut is None else multiply_adds(network.shortcut)
        return multiply_adds(network.branch) + shortcut
    if type(network) is keras.layers.SpectralNormalization:
        return multiply_adds(network.layer)
    return _matrix(network)


def _matrix(layer: keras.Layer) -> int:
    """Returns the multiply-adds of a dense layer, 0 for layers of other kinds."""
    if isinstance(layer, layers.SDPLipschitzDense | layers.FixedResidualDense):
        # Its matrix and, after the activation, the transposed one.
        values = 2 * math.prod(layer.kernel.shape)
    elif isinstance(layer, layers.LipschitzDense | layers.FixedDense | keras.layers.Dense):
        values = _input_shape(layer)[-1] * layer.units
    else:
        return 0
    return math.prod(_input_shape(layer)[1:-1]) * values


def _circular_convolution(layer: keras.Layer) -> int:
    shape = _input_shape(layer)
    height, width, channels = layer.downsampling.compute_output_shape(shape)[1:]
    if isinstance(layer, layers.SpectralConv2D):
        pointwise, convolutions = layer.pointwise, [(channels, layer.filters)]
    else:
        rows, columns = layer.matrix_size()
        pointwise, convolutions = layer.is_pointwise, [(columns, rows)]
        if isinstance(layer, layers.SDPLipschitzConv2D):
            convolutions.append((rows, columns))
    if pointwise:
        return sum(height * width * inputs * outputs for inputs, outputs in convolutions)
    # Of the half spectrum that a real image needs.
    frequencies = (width // 2 + 1) * height
    # A real transform along the width, and a complex one along the height, for each channel.
    transform = 2 * frequencies * width + 4 * frequencies * height
    return sum(
        transform * (inputs + outputs) + 4 * frequencies * inputs * outputs
        for inputs, outputs in convolutions
    )


def _input_shape(layer: keras.Layer) -> tuple[Any, ...]:
    """Returns the shape that a layer was built for, with the batch dimension."""
    return tuple(layer.get_build_config()["input_shape"])
