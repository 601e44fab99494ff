"""What a pass of a network costs, whatever the machine."""

import math

import keras

from lsrs_tf.graphs import is_functional, is_sequential

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def multiply_adds(network: keras.Layer) -> int:
    """Returns the multiply-adds of convolutions and dense layers for one input.

    For the head of a smoothed model it is the cost of a vote. Additions, normalizations and
    activations are not counted, nor are layers of other kinds.

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
    if type(network) in (*_CONVOLUTIONS, keras.layers.Dense):
        # The shape that it was built for; a kernel of groups holds the channels of one.
        shape = network.compute_output_shape(network.get_build_config()["input_shape"])
        return math.prod(shape[1:-1]) * math.prod(network.kernel.shape)
    return 0
