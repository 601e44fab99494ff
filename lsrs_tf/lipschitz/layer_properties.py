"""What rules ask of a layer before they bound it."""

import math

import keras
import numpy as np


def number_of_values(shape):
    """Returns the number of values of one image in a shape with the batch dimension.

    Args:
        shape: tuple; None for unknown sizes.

    Returns:
        int, or infinity if a size is unknown.
    """
    return math.inf if None in shape[1:] else math.prod(shape[1:])


def float64(weight):
    """Returns a weight as a float64 array."""
    return keras.ops.convert_to_numpy(weight).astype(np.float64)


def check_plain(layer):
    """Raises if a layer of Keras is adapted, quantized, or not channels last."""
    for name in ("lora_enabled", "quantization_mode"):
        if getattr(layer, name, None):
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) has {name}="
                f"{getattr(layer, name)!r}, which changes its kernel in ways that no bound here "
                "covers. Merge it into a plain layer first."
            )
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has data_format='channels_first'; only "
            "'channels_last' is bounded. Build it with data_format='channels_last'."
        )


def known_sizes(layer, input_shape):
    """Returns the sizes of an image without its channels, or raises if one is unknown."""
    sizes = tuple(input_shape[1:-1])
    if None in (*sizes, input_shape[-1]):
        raise ValueError(
            f"The bound of layer '{layer.name}' ({type(layer).__name__}) depends on the size of "
            f"its input, which is unknown. Received: input_shape={tuple(input_shape)}. Give the "
            "sizes to `keras.Input`."
        )
    return tuple(map(int, sizes))
