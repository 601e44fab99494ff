import math

import numpy as np
import pytest
import scipy.stats

from lsrs_tf.evaluation import extreme_values
from lsrs_tf.evaluation.extreme_values import fit_reverse_weibull


def _maxima(shape, location=3.0, scale=1.0, size=500):
    return scipy.stats.weibull_max.rvs(shape, location, scale, size=size, random_state=1)


@pytest.mark.parametrize(("shape", "tolerance"), [(0.6, 0.01), (1, 0.01), (2, 0.05), (4, 0.2)])
def test_location_of_a_known_law_is_recovered(shape, tolerance):
    maxima = _maxima(shape)
    fit = fit_reverse_weibull(maxima)
    assert fit.kind == "weibull"
    assert fit.location >= maxima.max()
    assert abs(fit.location - 3) < tolerance
    if shape >= 1:
        assert fit.p_value > 0.2


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_fit_does_not_depend_on_units(unit):
    maxima = _maxima(2.0)
    expected = fit_reverse_weibull(maxima)
    fit = fit_reverse_weibull(unit * (maxima + 5))
    assert fit.location == pytest.approx(unit * (expected.location + 5), rel=1e-4)


def test_location_is_never_below_a_maximum():
    rng = np.random.default_rng(0)
    for shape in (0.3, 1.0, 3.0, 30.0):
        for size in (10, 40):
            maxima = 2 + scipy.stats.weibull_max.rvs(shape, size=size, random_state=rng)
            assert fit_reverse_weibull(maxima).location >= maxima.max()


def test_fit_is_as_likely_as_any_on_a_grid_of_locations():
    maxima = _maxima(2.0, size=100)
    location = fit_reverse_weibull(maxima).location

    # For a known location, SciPy fits the other two parameters without our search.
    def best(location):
        below = location - maxima
        shape, _, scale = scipy.stats.weibull_min.fit(below, floc=0)
        return scipy.stats.weibull_min.nnlf((shape, 0, scale), below)

    others = [best(other) for other in maxima.max() + np.geomspace(1e-4, 2, 60)]
    assert best(location) <= min(others) + 1e-3


def test_equal_maxima_are_their_own_location():
    fit = fit_reverse_weibull(np.full(20, 0.7) * (1 + 1e-7 * np.arange(20)))
    assert fit.kind == "constant"
    assert fit.location == 0.7 * (1 + 1e-7 * 19)
    assert math.isnan(fit.p_value)
    assert fit_reverse_weibull(np.zeros(20)).location == 0


def test_a_few_distinct_values_give_the_largest_and_a_poor_fit():
    # Gradients of networks of ReLUs take finitely many values.
    fit = fit_reverse_weibull(np.repeat([1.0, 1.2, 1.3], [10, 20, 470]))
    assert fit.location == pytest.approx(1.3, abs=1e-6)
    assert fit.p_value < 1e-6


def test_a_law_without_an_end_is_told():
    maxima = scipy.stats.genextreme.rvs(-0.3, loc=5, size=500, random_state=0)
    fit = fit_reverse_weibull(maxima)
    assert fit.kind == "largest"
    assert fit.location == maxima.max()


def test_fits_that_fail_are_told(monkeypatch):
    def fails(*_, **__):
        raise scipy.stats.FitError("no")

    monkeypatch.setattr(extreme_values.scipy.stats.weibull_max, "fit", fails)
    maxima = _maxima(2.0)
    fit = fit_reverse_weibull(maxima)
    assert (fit.kind, fit.location) == ("largest", maxima.max())
    assert math.isnan(fit.p_value)
