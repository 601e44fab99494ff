import decimal
import fractions

import pytest

from lsrs_tf.evaluation import markdown_table, rounded_down, with_prefix


def test_cells_are_shown_as_they_are():
    table = markdown_table(["radius", "share"], [["0.250", "1e-3"], ["-", "97.50"]])
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert lines[0] == ["radius", "share"]
    assert lines[2:] == [["0.250", "1e-3"], ["-", "97.50"]]
    assert table.endswith("|\n")


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (fractions.Fraction(2, 3), 3, "0.666"),
        (0.29, 2, "0.29"),
        (0.9999, 2, "0.99"),
        (97.222, 1, "97.2"),
        (0.0, 3, "0.000"),
        (1e-9, 3, "0.000"),
    ],
)
def test_figures_are_rounded_down(value, places, text):
    assert rounded_down(value, places) == text


@pytest.mark.parametrize(
    ("value", "nearest", "down"),
    [
        (0, "0", "0"),
        (7, "7", "7"),
        (999, "999", "999"),
        (999.6, "1.00 k", "999"),
        (16_790_000, "16.8 M", "16.7 M"),
        (fractions.Fraction(2, 3), "0.667", "0.666"),
        (27.28e12, "27.3 T", "27.2 T"),
        (0.01664, "0.0166", "0.0166"),
        (1e-9, "0.00000000100", "0.00000000100"),
        (2e22, "20000 E", "20000 E"),
    ],
)
def test_prefixes_keep_three_digits(value, nearest, down):
    assert with_prefix(value) == nearest
    assert with_prefix(value, decimal.ROUND_DOWN) == down
