"""Checks of constructor arguments that several losses share."""

import math

from lsrs_tf.number_kinds import is_real_number


def number_above_zero(value: object, name: str, loss: str) -> float:
    """Returns value as a float, or raises if it is not a finite number above 0."""
    if not (is_real_number(value) and math.isfinite(value) and value > 0):
        raise ValueError(
            f"Argument `{name}` of {loss} must be a finite number above 0. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def number_from_zero(value: object, name: str, loss: str) -> float:
    """Returns value as a float, or raises if it is not a finite number of at least 0."""
    if not (is_real_number(value) and math.isfinite(value) and value >= 0):
        raise ValueError(
            f"Argument `{name}` of {loss} must be a finite number of at least 0. "
            f"Received: {name}={value!r}"
        )
    return float(value)
