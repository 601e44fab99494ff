"""The law of largest values: where the maxima of samples would end."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from numpy.typing import NDArray

Kind: TypeAlias = Literal["weibull", "constant", "largest"]

# A law of three parameters says nothing about fewer.
SMALLEST_MAXIMA = 10

# Maxima this close together, relative to the largest, differ by the rounding of float32 only.
_CONSTANT = 1e-5
# Below 1 the likelihood has no maximum: it is unbounded where the location meets the largest value.
_SMALLEST_SHAPE = 1.0
# From here on the law is hardly told from one without an end (Gumbel's), and its location is more
# than 78 standard deviations above the mean.
_LARGEST_SHAPE = 100.0
_SHAPES_TO_START = (1.5, 3.0, 8.0, 25.0)
_STEPS = 2_000


@dataclasses.dataclass(frozen=True)
class ReverseWeibullFit:
    """The reverse Weibull law that was fitted to maxima.

    Attributes:
        location: float, the end of the law, at least the largest of the maxima.
        p_value: float in [0, 1] of the Kolmogorov-Smirnov test of the fitted law, NaN where there
            is none. It is too favorable, because the law was fitted to the same maxima: a small
            one speaks against the fit, a large one hardly for it.
        kind: 'weibull' for a fit; 'constant' where all maxima are equal up to rounding, and the
            location is the largest; 'largest' where no fit was found, or none with an end in sight,
            and the largest of the maxima stands in for the location.
    """

    location: float
    p_value: float
    kind: Kind


def fit_reverse_weibull(maxima: NDArray[np.floating]) -> ReverseWeibullFit:
    """Fits a reverse Weibull law to the maxima of samples, by maximum likelihood.

    The law of the largest of many values that cannot exceed a bound (Fisher and Tippett 1928,
    Gnedenko 1943). The location is not below any of the maxima. The fit is made by
    `scipy.stats.weibull_max.fit`, from several starts; the likeliest result counts.

    Args:
        maxima: float array [maxima], finite and at least 0, at least `SMALLEST_MAXIMA` of them.

    Returns:
        A `ReverseWeibullFit`.
    """
    maxima = np.asarray(maxima, np.float64)
    largest = float(maxima.max())
    if largest - maxima.min() <= _CONSTANT * largest:
        return ReverseWeibullFit(largest, math.nan, "constant")
    mean, deviation = float(maxima.mean()), float(maxima.std())
    # In units in which all data look alike, and whose largest value has no rounding to lose.
    values = (maxima - largest) / deviation
    fits = list(_fits(values, (mean - largest) / deviation))
    if not fits:
        return ReverseWeibullFit(largest, math.nan, "largest")
    shape, location, scale = min(
        fits, key=lambda parameters: scipy.stats.weibull_max.nnlf(parameters, values)
    )
    law = scipy.stats.weibull_max(shape, location, scale)
    p_value = float(scipy.stats.kstest(values, law.cdf).pvalue)
    if shape > 0.99 * _LARGEST_SHAPE:
        return ReverseWeibullFit(largest, p_value, "largest")
    return ReverseWeibullFit(largest + deviation * location, p_value, "weibull")


def _fits(values: NDArray[np.float64], mean: float) -> Iterator[tuple[float, float, float]]:
    """Yields the parameters (shape, location, scale) from several starts.

    Args:
        values: float64 array of standard deviation 1, its largest value 0.
        mean: float, the mean of the values.
    """
    for shape in _SHAPES_TO_START:
        first, second = scipy.special.gamma([1 + 1 / shape, 1 + 2 / shape])
        scale = float(1 / np.sqrt(second - first**2))
        # Where the law would have the mean of the values, if that is above all of them.
        location = max(mean + scale * float(first), 0.05)
        try:
            found = scipy.stats.weibull_max.fit(
                values, shape, loc=location, scale=scale, optimizer=_minimum_within_bounds
            )
        except (scipy.stats.FitError, FloatingPointError):
            continue
        shape_found, location_found, scale_found = map(float, found)
        if math.isfinite(scipy.stats.weibull_max.nnlf(found, values)) and location_found >= 0:
            yield shape_found, location_found, scale_found


def _minimum_within_bounds(
    function: Callable[..., float],
    start: NDArray[np.float64],
    args: tuple[Any, ...] = (),
    disp: bool | int = 0,
) -> NDArray[np.float64]:
    """Minimizes a likelihood as `scipy.stats` asks, with the location above 0.

    SciPy's own search lets the location fall below values, at the price of a penalty.
    """

    def parameters(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
        shape, location, scale = np.exp(np.clip(logarithms, -300, 300))
        return np.array([min(_SMALLEST_SHAPE + shape, _LARGEST_SHAPE), location, scale])

    found = scipy.optimize.minimize(
        lambda logarithms: function(parameters(logarithms), *args),
        np.log([start[0] - _SMALLEST_SHAPE, start[1], start[2]]),
        method="Nelder-Mead",
        options={"maxiter": _STEPS, "xatol": 1e-5, "fatol": 1e-8, "disp": bool(disp)},
    )
    return parameters(found.x)
