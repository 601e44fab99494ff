import keras
import numpy as np
import pytest

from experiments.benchmarks import bounds
from experiments.benchmarks.eigenvalue_bounds import bound_of_layers

SMALL = [
    "separable 32-64, 16x16",
    "conv 32, normalization, 16x16",
    "conv 32, normalization undoes scales",
    "depthwise 32, pointwise 64, 16x16",
    "conv 64, 32x32",
]


@pytest.mark.parametrize("name", SMALL)
def test_bounds_are_not_above_those_before(name):
    now, before, _, _ = bounds.compared(name)
    assert 0 < now <= before * (1 + 1e-9)


def test_table_has_a_row_per_case(monkeypatch):
    monkeypatch.setattr(bounds, "compared", lambda name: (1.0, 2.0, 3.0, 4.0))
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in bounds.table(SMALL[:2]).splitlines()
    ]
    assert rows[2:] == [[name, "1", "2", "0.5000", "3.00", "4.00", "0.750"] for name in SMALL[:2]]


def test_normalization_that_undoes_scales_is_where_folding_pays():
    now, before, _, _ = bounds.compared("conv 32, normalization undoes scales")
    assert now < before / 2


def test_bounds_before_are_those_of_the_matrix():
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(7)])
    exact = np.linalg.norm(model.layers[0].kernel.numpy().astype(np.float64), 2)
    assert exact <= bound_of_layers(model.layers, (None, 12)) <= exact * (1 + 1e-9)
