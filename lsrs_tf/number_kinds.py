"""Which values are numbers, of Python or of NumPy (True and False are none); their checks."""

import math
import numbers
from typing import TypeGuard


def is_real_number(value: object) -> TypeGuard[float]:
    """Returns whether value is a real number; NaN and the infinities are."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Returns whether value is of a type of whole numbers; 1.0 is not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def number_above_zero(value: object, name: str, owner: str) -> float:
    """Returns value as a float, or raises if it is not a finite number above 0.

    Args:
        value: what was received for an argument.
        name: str, the argument.
        owner: str, the class that takes it.
    """
    if not (is_real_number(value) and math.isfinite(value) and value > 0):
        raise ValueError(
            f"Argument `{name}` of {owner} must be a finite number above 0. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def number_from_zero(value: object, name: str, owner: str) -> float:
    """Returns value as a float, or raises if it is not a finite number of at least 0."""
    if not (is_real_number(value) and math.isfinite(value) and value >= 0):
        raise ValueError(
            f"Argument `{name}` of {owner} must be a finite number of at least 0. "
            f"Received: {name}={value!r}"
        )
    return float(value)


def count_from_one(value: object, name: str, owner: str) -> int:
    """Returns value as an int, or raises if it is not a whole number of at least 1."""
    if not (is_whole_number(value) and value >= 1):
        raise ValueError(
            f"Argument `{name}` of {owner} must be a whole number of at least 1. "
            f"Received: {name}={value!r}"
        )
    return int(value)
