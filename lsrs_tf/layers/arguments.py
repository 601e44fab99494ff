"""Checks of constructor arguments that several layers share."""

from typing import TypeGuard

import numpy as np

from lsrs_tf.number_kinds import is_real_number, is_whole_number


def positive_integer(value: object, name: str, layer: str) -> int:
    """Returns value as an int, or raises if it is not a whole number above zero."""
    if not (_is_whole(value) and value >= 1):
        raise ValueError(
            f"Argument `{name}` of {layer} must be a positive integer. Received: {name}={value!r}"
        )
    return int(value)


def _is_whole(value: object) -> TypeGuard[float]:
    return is_whole_number(value) or (is_real_number(value) and float(value).is_integer())


def positive_pair(value: object, name: str, layer: str) -> tuple[int, int]:
    """Returns value as a pair of positive ints; one number stands for both."""
    pair = tuple(value) if isinstance(value, list | tuple | np.ndarray) else (value, value)
    if len(pair) != 2:
        raise ValueError(
            f"Argument `{name}` of {layer} must be an integer or a pair of integers. "
            f"Received: {name}={value!r}"
        )
    first, second = (positive_integer(entry, name, layer) for entry in pair)
    return first, second


def known_image_shape(input_shape, layer):
    """Returns (height, width, channels) of [batch, height, width, channels], all known."""
    if len(input_shape) != 4 or any(size is None for size in input_shape[1:]):
        raise ValueError(
            f"{layer} needs images [batch, height, width, channels] of a known height, width and "
            f"number of channels, because its transform depends on them. "
            f"Received: input_shape={tuple(input_shape)}. Give the sizes to `keras.Input`."
        )
    return tuple(int(size) for size in input_shape[1:])
