import fractions
import math

import numpy as np
import pytest

from lsrs_tf.numerics import rounding


def test_results_are_never_below_the_exact_ones():
    numbers = np.random.default_rng(0).uniform(0, 3, size=(200, 5)).tolist()
    for row in numbers:
        exact = [fractions.Fraction(number) for number in row]
        assert fractions.Fraction(rounding.product(row)) >= math.prod(exact)
        assert fractions.Fraction(rounding.total(row)) >= sum(exact)
        squares = sum(number**2 for number in exact)
        assert fractions.Fraction(rounding.root_of_squares(row)) ** 2 >= squares
        assert fractions.Fraction(rounding.root(row[0])) ** 2 >= exact[0]
        assert rounding.product(row) <= math.prod(row) * (1 + 1e-14)


def test_ones_and_squares_stay_exact():
    assert rounding.product([1.0, 1.0]) == 1.0
    assert rounding.product([1.0, 0.3]) == 0.3
    assert [rounding.root(value) for value in (0.0, 1.0, 4.0, 9.0)] == [0, 1, 2, 3]


@pytest.mark.parametrize("number", [0.1, -0.1, 1 / 3, 1 / 255, 2.0, 1e-50])
def test_either_precision_is_at_least_both(number):
    found = rounding.either_precision(number)
    assert found >= abs(number) and found >= abs(float(np.float32(number)))
    assert found in (abs(number), abs(float(np.float32(number))))
