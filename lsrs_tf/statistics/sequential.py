"""Sequential tests of one target radius: as many samples as an image needs. NumPy and SciPy only.

The null hypothesis is that the class has at most the probability p0 that the radius needs. After
each of a fixed series of looks, hits and samples so far decide: certify, give up, or go on. Both
boundaries are calibrated by the exact law of the hits at these very looks, so that a false
certificate has a probability of at most alpha.

Sources: the boundary for certifying is a likelihood ratio against a mixture, as in the betting
of Voracek, "Treatment of Statistical Estimation Problems in Randomized Smoothing for Adversarial
Robustness" (2024), but truncated to p > p0 and calibrated to the looks; the recursion is that of
Armitage, McPherson and Rowe, "Repeated significance tests on accumulating data" (1969).

More hits never hurt: with one path of hits nowhere below another, the upper one has not given up
where the lower one certifies. The probability of certifying therefore grows with p, and is
largest under the null hypothesis at p0 itself, where it is calibrated.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import scipy.special
import scipy.stats
from numpy.typing import NDArray

from lsrs_tf.statistics import confidence

# Looks: every 20 samples, later 5 % apart.
_FIRST_LOOK = 20
_GROWTH = 1.05
# So much of alpha is spent before the last look, where the rest nearly keeps the power of a test
# with a fixed number of samples.
_SPENT_EARLY = 0.3
# Giving up costs this much power where the test with a fixed number of samples certifies 99 times
# out of 100. Giving up needs no proof.
_POWER, _LOST_POWER = 0.99, 0.001
# Calibrations stop short of alpha by this, far more than the rounding of the recursion.
_MARGIN = 1e-6
# Paths of hits less probable than this, and than this part of alpha, are not followed; they count
# as false certificates.
_NEGLIGIBLE = 1e-25

_NEVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class SequentialTest:
    """A calibrated test; see `sequential_test`.

    Attributes:
        p0: float, the probability that is to be exceeded.
        alpha: float, probability that the test certifies although p <= p0, at most.
        looks: int64 [looks], numbers of samples after which it decides, ascending.
        certify_from: int64 [looks], the least hits that certify at each look.
        give_up_to: int64 [looks], the most hits at which it gives up, -1 for none. At the last look
            it gives up wherever it does not certify.

    Examples:
        >>> test = sequential_test(p0=0.9, n=1_000, alpha=0.001)
        >>> int(test.looks[0]), int(test.certify_from[0]), int(test.give_up_to[0])
        (20, 21, 13)
    """

    p0: float
    alpha: float
    looks: NDArray[np.int64]
    certify_from: NDArray[np.int64]
    give_up_to: NDArray[np.int64]


def least_certifying_hits(p0: float, n: int, alpha: float) -> int:
    """Returns the least hits among a fixed n that show a probability above p0; n + 1 for none.

    Examples:
        >>> least_certifying_hits(p0=0.9, n=1_000, alpha=0.001)
        929
    """
    return int(scipy.stats.binom.isf(alpha, n, p0)) + 1


def sequential_looks(n: int) -> NDArray[np.int64]:
    """Returns the looks of a test of at most n samples: int64, ascending, the last one n.

    Examples:
        >>> sequential_looks(n=100)
        array([ 20,  40,  60,  80, 100])
    """
    looks = [min(_FIRST_LOOK, n)]
    while looks[-1] < n:
        looks.append(min(n, max(looks[-1] + _FIRST_LOOK, int(looks[-1] * _GROWTH))))
    return np.array(looks, np.int64)


@functools.lru_cache(maxsize=256)
def sequential_test(p0: float, n: int, alpha: float) -> SequentialTest:
    """Returns the test that the probability of a class exceeds p0.

    Args:
        p0: float in [1/2, 1).
        n: int, the most samples to take.
        alpha: float in (0, 1).

    Raises:
        ValueError: if not even n unanimous samples could exceed p0.

    Examples:
        >>> test = sequential_test(p0=0.9, n=1_000, alpha=0.001)
        >>> int(test.looks[-1]), int(test.certify_from[-1])
        (1000, 930)
    """
    alpha = confidence.check_alpha(alpha)
    if not 0.5 <= p0 < 1 or confidence.lower_confidence_bound(n, n, alpha) <= p0:
        raise ValueError(
            f"A probability above {p0:.6g} cannot be shown with n={n} samples at alpha={alpha}, "
            f"even if all of them agree. Use {_needed(p0, alpha)}."
        )
    looks = sequential_looks(n)
    give_up_to = _futility_boundary(p0, looks, alpha)
    limit = alpha * (1 - _MARGIN)

    def early(threshold):
        certify_from = _least_hits(p0, looks, threshold)
        certify_from[-1] = _NEVER
        # Where both boundaries meet, giving up goes first.
        return np.maximum(certify_from, give_up_to + 1)

    def early_errors(threshold):
        return _outcomes(p0, looks, early(threshold), give_up_to, alpha)[0].sum()

    threshold = _calibrated(early_errors, _SPENT_EARLY * limit, math.log(1 / alpha))
    certify_from = early(threshold)
    certified, _, last = _outcomes(p0, looks, certify_from, give_up_to, alpha)
    certify_from[-1] = _least_tail(*last, limit - certified.sum())
    for array in (looks, certify_from, give_up_to):
        # The test is kept for others who ask for it.
        array.setflags(write=False)
    return SequentialTest(p0, alpha, looks, certify_from, give_up_to)


def _needed(p0: float, alpha: float) -> str:
    """Returns what to use where n unanimous samples do not show a probability above p0."""
    samples = math.log(alpha) / math.log(p0) if 0 < p0 < 1 else math.inf
    if samples > confidence.LARGEST_N:
        return "a smaller radius, or more noise"
    return f"n={math.ceil(samples)} or more, or a smaller radius"


def outcome_probabilities(
    test: SequentialTest, p: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the exact law of a test's outcome when every sample is a hit with probability p.

    Args:
        test: SequentialTest.
        p: float in [0, 1].

    Returns:
        (certified, given_up): float64 arrays [looks], the probability of either at each look.

    Examples:
        >>> test = sequential_test(p0=0.9, n=1_000, alpha=0.001)
        >>> certified, given_up = outcome_probabilities(test, p=0.99)
        >>> float(certified.sum()) > 0.99
        True
    """
    certified, given_up, (_, undecided) = _outcomes(
        p, test.looks, test.certify_from, test.give_up_to, test.alpha
    )
    given_up[-1] += undecided.sum()
    return certified, given_up


def _outcomes(p, looks, certify_from, give_up_to, alpha):
    """Follows the law of the hits from look to look.

    Returns:
        (certified [looks], given up [looks], (least hits, law) of what is undecided at the end).
    """
    certified, given_up = np.zeros(len(looks)), np.zeros(len(looks))
    negligible = _NEGLIGIBLE * min(1.0, alpha)
    reach = _reach(negligible)
    least, law = 0, np.ones(1)
    for look, samples in enumerate(np.diff(looks, prepend=0)):
        first, steps = _binomial(int(samples), p, reach)
        least, law = least + first, np.convolve(law, steps)
        upper = int(np.clip(certify_from[look] - least, 0, law.size))
        lower = min(int(np.clip(give_up_to[look] + 1 - least, 0, law.size)), upper)
        certified[look], given_up[look] = law[upper:].sum(), law[:lower].sum()
        least, law = least + lower, law[lower:upper]
        followed = np.flatnonzero(law > negligible)
        if not followed.size:
            certified[look] += law.sum()
            return certified, given_up, (least, np.zeros(1))
        first, last = followed[0], followed[-1] + 1
        # What is not followed any further counts against the test.
        certified[look] += law[:first].sum() + law[last:].sum()
        least, law = least + int(first), law[first:last]
    return certified, given_up, (least, law)


def _reach(negligible: float) -> float:
    """Returns how many times further than usual binomial laws are followed for such ends.

    By Bennett's inequality (1962) less than exp(-98) is further than 14 standard deviations and 40
    away from the mean, and less than exp(-98 r) further than r times that. It is 1 for any alpha
    above 1e-17.
    """
    return max(1.0, -math.log(negligible) / 98)


@functools.lru_cache(maxsize=4096)
def _binomial(samples: int, p: float, reach: float) -> tuple[int, NDArray[np.float64]]:
    """Returns (first, probabilities) of the binomial law, without negligible ends."""
    spread = reach * (14 * math.sqrt(samples * p * (1 - p)) + 40)
    first = max(0, math.floor(samples * p - spread))
    last = min(samples, math.ceil(samples * p + spread))
    return first, scipy.stats.binom.pmf(np.arange(first, last + 1), samples, p)


def _least_hits(p0, looks, threshold):
    """Returns the least hits at each look with a log likelihood ratio of `threshold`."""

    def reached(hits):
        return _log_ratio(p0, hits, looks) >= threshold

    low, high = np.full(len(looks), -1), looks + 1
    while np.any(high - low > 1):
        middle = (low + high) // 2
        enough = (middle > looks) | reached(np.minimum(middle, looks))
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def _log_ratio(p0, hits, samples):
    """Log likelihood ratio of all p > p0, weighted by the law Beta(1/2, 1/2), against p0.

    Where the hits are no more than expected under p0 it is minus infinity.
    """
    misses = samples - hits

    def log_weight(hits, misses):
        above = scipy.special.betainc(misses + 0.5, hits + 0.5, 1 - p0)
        with np.errstate(divide="ignore"):
            return scipy.special.betaln(hits + 0.5, misses + 0.5) + np.log(above)

    ratio = log_weight(hits, misses) - log_weight(0, 0)
    ratio -= hits * math.log(p0) + misses * math.log1p(-p0)
    return np.where(hits > p0 * samples, ratio, -np.inf)


def _futility_boundary(p0, looks, alpha):
    """Returns the most hits at each look at which it does not pay to go on."""
    n = int(looks[-1])
    hopeful = _hopeful_probability(p0, n, alpha)
    if hopeful is None:
        return np.full(len(looks), -1, np.int64)

    def boundary(threshold):
        # Few hits against `hopeful` are many misses against its complement.
        give_up_to = looks - _least_hits(1 - hopeful, looks, threshold)
        give_up_to[-1] = -1
        return np.maximum(give_up_to, -1)

    never = np.full(len(looks), _NEVER)

    def lost_power(threshold):
        return _outcomes(hopeful, looks, never, boundary(threshold), alpha)[1].sum()

    return boundary(_calibrated(lost_power, _LOST_POWER, math.log(1 / _LOST_POWER)))


def _hopeful_probability(p0: float, n: int, alpha: float) -> float | None:
    """Returns where a test of n samples certifies with `_POWER`, or None if that is nowhere."""
    least = least_certifying_hits(p0, n, alpha)
    if least > n:
        return None
    # P(hits >= least) = betainc(least, n - least + 1, p)
    hopeful = float(scipy.special.betaincinv(least, n - least + 1, _POWER))
    return hopeful if hopeful < 1 else None


def _calibrated(error: Callable[[float], float], limit: float, highest: float) -> float:
    """Returns about the least threshold with error(threshold) <= limit; errors fall with it."""
    low, high = -2.0, highest + 10.0
    while error(high) > limit:
        high += 10.0
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if error(middle) > limit else (low, middle)
    return high


def _least_tail(least, law, limit):
    """Returns the least number of hits from which the law has at most `limit` left."""
    tails = np.cumsum(law[::-1])[::-1]
    return least + int(np.count_nonzero(tails > limit))
