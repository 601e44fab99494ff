"""Which values are numbers, of Python or of NumPy. True and False are none."""

import numbers
from typing import TypeGuard


def is_real_number(value: object) -> TypeGuard[float]:
    """Returns whether value is a real number; NaN and the infinities are."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Returns whether value is of a type of whole numbers; 1.0 is not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
