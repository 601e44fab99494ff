"""Arithmetic on upper bounds in float64 that never rounds downwards."""

import math

import numpy as np

# The largest relative error of one rounding in float64.
UNIT_ROUNDOFF = 2.0**-53


def round_up(value):
    """Returns the next larger number: at least the exact result of one rounded operation."""
    return math.nextafter(value, math.inf)


def round_down(value):
    """Returns the next smaller number: at most the exact result of one rounded operation."""
    return math.nextafter(value, -math.inf)


def product(factors):
    """Returns an upper bound of the product of nonnegative numbers."""
    result = 1.0
    for factor in factors:
        # Multiplying by exactly 1 is exact.
        result = result * factor if 1.0 in (result, factor) else round_up(result * factor)
    return result


def total(terms):
    """Returns an upper bound of the sum of nonnegative numbers."""
    result = 0.0
    for term in terms:
        result = round_up(result + term)
    return result


def root_of_squares(terms):
    """Returns an upper bound of the root of the sum of squares."""
    return round_up(math.sqrt(total(round_up(term * term) for term in terms)))


def root(value):
    """Returns an upper bound of the root of a nonnegative number; exact for square numbers."""
    if value.is_integer() and math.isqrt(int(value)) ** 2 == value:
        return float(math.isqrt(int(value)))
    return round_up(math.sqrt(value))


def either_precision(number):
    """Returns the larger size of a number and of its float32 neighbour.

    Keras and TensorFlow round some numbers of a layer's configuration to float32, even in layers of
    float64.
    """
    number = abs(float(number))
    return max(number, float(np.float32(number)))
