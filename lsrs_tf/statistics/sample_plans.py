"""How many samples an image needs for nearly the radius of the most samples. NumPy and SciPy only.

Source: the idea of input-specific sampling, Chen et al., "Input-Specific Robustness Certification
for Randomized Smoothing" (2022). Here the samples that plan are not those that estimate; otherwise
the bound would not be one.
"""

import functools

from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.radius_scale import RadiusScale
from lsrs_tf.statistics.sequential import sequential_looks

# A plan is believed when it rests on so many samples for each sample of the plan, or, with so many
# votes for other classes, on fewer: the share of a class is known well then.
_PILOT_SHARE, _FEW_MISSES = 0.25, 10
_SMALL_PILOT_SHARE = 0.05
_FIRST_PILOT = 100
_IN_SIGMAS = RadiusScale(1.0, 1.0)


def next_pilot(hits: int, taken: int, n: int, alpha: float, tolerance: float) -> int:
    """Returns how many pilot samples there should be in all before the plan is believed.

    Args:
        hits: int, pilot samples for the selected class.
        taken: int, pilot samples so far.
        n: int, the most samples.
        alpha: float in (0, 1).
        tolerance: float above 0, in units of sigma.

    Returns:
        int: `taken` if they are enough.

    Examples:
        >>> next_pilot(hits=0, taken=0, n=10_000, alpha=0.001, tolerance=0.2)
        100
        >>> next_pilot(hits=90, taken=100, n=10_000, alpha=0.001, tolerance=0.2)
        100
    """
    if taken == 0:
        return min(_FIRST_PILOT, n)
    planned = planned_samples(hits, taken, n, alpha, tolerance)
    share = _SMALL_PILOT_SHARE if taken - hits >= _FEW_MISSES else _PILOT_SHARE
    if taken >= share * planned:
        return taken
    return _more(taken, n)


def _more(taken: int, n: int) -> int:
    return min(2 * taken, n)


def pilot_sizes(n: int) -> list[int]:
    """Returns all numbers of pilot samples at which `next_pilot` can stop, ascending ints.

    Args:
        n: int, the most samples.

    Examples:
        >>> pilot_sizes(n=1_000)
        [100, 200, 400, 800, 1000]
    """
    sizes = [min(_FIRST_PILOT, n)]
    while sizes[-1] < n:
        sizes.append(_more(sizes[-1], n))
    return sizes


@functools.lru_cache(maxsize=65_536)
def planned_samples(hits: int, taken: int, n: int, alpha: float, tolerance: float) -> int:
    """Returns the fewest samples whose radius is expected within a tolerance of that of n.

    The number is one of `sequential_looks`. An image that n samples would certify at all is
    planned to be certified.

    Args:
        hits: int, pilot samples for the selected class.
        taken: int, pilot samples, at least 1.
        n: int, the most samples.
        alpha: float in (0, 1).
        tolerance: float above 0, in units of sigma.

    Examples:
        >>> planned_samples(hits=90, taken=100, n=10_000, alpha=0.001, tolerance=0.2)
        441
    """
    # Half a vote on either side keeps unanimous votes from a probability of 1.
    share = (hits + 0.5) / (taken + 1)
    most = _expected_radius(share, n, alpha)
    for look in sequential_looks(n).tolist():
        radius = _expected_radius(share, look, alpha)
        if radius >= most - tolerance and (radius > 0 or most == 0):
            return look
    return n


def _expected_radius(share: float, samples: int, alpha: float) -> float:
    """Returns the radius, in units of sigma, for the expected number of hits."""
    p_lower = confidence.lower_confidence_bound(round(share * samples), samples, alpha)
    return _IN_SIGMAS.radius(p_lower)
