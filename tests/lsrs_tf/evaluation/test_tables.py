import fractions

import pytest

from lsrs_tf.evaluation import markdown_table, rounded_down


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
