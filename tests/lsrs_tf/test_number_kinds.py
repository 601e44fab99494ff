import decimal
import fractions

import numpy as np
import pytest

from lsrs_tf.number_kinds import is_real_number, is_whole_number


@pytest.mark.parametrize("value", [1, 2**70, np.int8(1), np.uint64(1)])
def test_whole_numbers_are_real_numbers(value):
    assert is_whole_number(value)
    assert is_real_number(value)


@pytest.mark.parametrize("value", [1.0, float("nan"), np.float32(1), fractions.Fraction(1)])
def test_real_numbers_need_not_be_of_a_whole_type(value):
    assert is_real_number(value)
    assert not is_whole_number(value)


@pytest.mark.parametrize(
    "value", [True, np.bool_(True), None, "1", 1j, decimal.Decimal(1), np.ones(1), [1]]
)
def test_others_are_no_numbers(value):
    assert not is_real_number(value)
    assert not is_whole_number(value)
