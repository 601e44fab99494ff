"""Exact confidence bounds of probabilities, rounded to the safe side. NumPy and SciPy only.

Source: Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing"
(2019), section 3.2.
"""

import math

import numpy as np
import scipy.special
import scipy.stats
from numpy.typing import NDArray

from lsrs_tf.number_kinds import is_real_number, is_whole_number

# SciPy's inverse of the incomplete beta function is accurate to about 1e-13, relatively; what is
# computed from it is lowered by far more than that, which costs nothing that a person could notice.
_BETA_MARGIN = 1e-11
# Where hits are rare among many trials, the inverse was off by up to 3e-11 for a million of them,
# and 2e-10 for 10^9 (found with 40 digits).
_BETA_MARGIN_RARE, _RARE, _MANY = 1e-9, 0.3, 100_000
# Where they are a handful, and alpha is .5 and more, by up to 3e-17 for each trial: 3e-8 for 10^9.
_BETA_MARGIN_OF_A_TRIAL, _HANDFUL = 1e-16, 100

# The inverse gives NaN from alpha = 1e-110 on for a few small counts, and wrong numbers without a
# word at 1e-130; at half of this limit, which a class has against the runner-up, it is right.
SMALLEST_ALPHA = 1e-100
# Up to here the bounds are compared with 40 digits, and all integers fit their types.
LARGEST_N = 10**9


def check_alpha(alpha: object) -> float:
    """Returns alpha as a float, or raises unless it lies from `SMALLEST_ALPHA` to below 1.

    Examples:
        >>> check_alpha(0.001)
        0.001
    """
    return _checked_alpha(alpha, SMALLEST_ALPHA)


def _checked_alpha(alpha: object, smallest: float) -> float:
    if not (is_real_number(alpha) and 0.0 < alpha < 1.0):
        raise ValueError(
            "`alpha`, the probability that a certificate is wrong, must lie strictly between 0 and "
            f"1 (0.001 is customary). Received: alpha={alpha!r}"
        )
    if alpha < smallest:
        raise ValueError(
            f"`alpha` must be at least {smallest}: below it confidence bounds cannot be computed "
            f"reliably. Received: alpha={alpha!r}. Use a larger one (0.001 is customary)."
        )
    return float(alpha)


def checked_count(value: object, name: str) -> int:
    """Returns a number of samples as an int, or raises if it is not one from 1 to `LARGEST_N`.

    Examples:
        >>> checked_count(100, "n")
        100
    """
    if not (is_whole_number(value) and 1 <= value <= LARGEST_N):
        raise ValueError(
            f"`{name}` must be a whole number of at least 1, and at most {LARGEST_N}. "
            f"Received: {name}={value!r}"
        )
    return int(value)


def smallest_certifying_n(alpha: float) -> int:
    """Returns the smallest number of samples that can certify anything at level alpha.

    Even unanimous votes leave the lower bound at alpha ** (1 / n), which must exceed 1/2.

    Args:
        alpha: float, a valid alpha or half of one.

    Examples:
        >>> smallest_certifying_n(alpha=0.001)
        10
    """
    n = max(1, math.floor(-math.log2(alpha)))
    while lower_confidence_bound(n, n, alpha) <= 0.5:
        n += 1
    return n


def lower_confidence_bound(count: int, n: int, alpha: float) -> float:
    """Returns a lower bound of a probability that fails with probability at most alpha.

    The one-sided Clopper-Pearson bound: the largest p for which `count` or more hits in n
    independent trials have probability at most alpha. It is exact for every n and p, up to a
    downward rounding of 1e-11, or of 1e-9 where few of more than 100,000 trials are hits (1e-7 for
    a handful of 10^9).

    Args:
        count: int, the number of hits, 0 to n.
        n: int, the number of trials, 1 to `LARGEST_N`.
        alpha: float, a valid alpha or half of one.

    Returns:
        float in [0, 1).

    Raises:
        ValueError: if the numbers are not valid.

    Examples:
        >>> round(lower_confidence_bound(990, n=1_000, alpha=0.001), 4)
        0.976
    """
    # Against the runner-up a class has half of alpha.
    alpha = _checked_alpha(alpha, SMALLEST_ALPHA / 2)
    if not 1 <= n <= LARGEST_N or not 0 <= count <= n:
        raise ValueError(
            f"A count must lie between 0 and n, and n between 1 and {LARGEST_N}. Received: "
            f"count={count}, n={n}"
        )
    if count == 0:
        return 0.0
    bound = float(scipy.special.betaincinv(count, n - count + 1, alpha))
    if not 0.0 <= bound < 1.0:
        raise ArithmeticError(
            "SciPy's inverse beta function failed for "
            f"count={count}, n={n}, alpha={alpha}: {bound}."
        )
    return bound * (1.0 - _beta_margin(count, n))


def _beta_margin(count: int, n: int) -> float:
    """Returns what SciPy's inverse may be off by, relatively."""
    if n <= _MANY or count >= _RARE * n:
        return _BETA_MARGIN
    if count >= _HANDFUL:
        return _BETA_MARGIN_RARE
    return _BETA_MARGIN_RARE + _BETA_MARGIN_OF_A_TRIAL * n


def upper_confidence_bound(count: int, n: int, alpha: float) -> float:
    """Returns an upper bound of a probability that fails with probability at most alpha.

    The one-sided Clopper-Pearson bound, rounded up; see `lower_confidence_bound`.

    Examples:
        >>> round(upper_confidence_bound(10, n=1_000, alpha=0.001), 4)
        0.024
    """
    return 1.0 - lower_confidence_bound(n - count, n, alpha)


def runner_up_bounds(
    counts: NDArray[np.integer], label: int, n: int, alpha: float
) -> tuple[float, float]:
    """Returns bounds of the probabilities of a class and of every other one, at alpha together.

    Half of alpha goes to the class, half to the others. The bound of the others needs no share for
    each of them: that of the most votes is at least that of the votes for the class that is truly
    the most probable one, whichever that is, and this one fails with probability at most alpha / 2.

    Args:
        counts: int array [classes], votes in n samples. Samples without a vote may have been
            for any class.
        label: int, the class, selected by other samples.
        n: int, samples.
        alpha: float in (0, 1), probability that any of the bounds is wrong, at most.

    Returns:
        (p_lower of the class, p_upper of every other class), floats.

    Examples:
        >>> p_lower, p_upper = runner_up_bounds(np.array([70, 20, 10]), 0, n=100, alpha=0.01)
        >>> round(p_lower, 3), round(p_upper, 3)
        (0.569, 0.321)
    """
    _check_votes(counts, n)
    p_lower = lower_confidence_bound(int(counts[label]), n, alpha / 2)
    others = np.delete(counts, label)
    most = int(others.max() + n - counts.sum())
    p_upper = upper_confidence_bound(most, n, alpha / 2)
    # All classes together have probability 1.
    return p_lower, min(p_upper, float(np.nextafter(1.0 - p_lower, 1.0)))


def _check_votes(counts: NDArray[np.integer], n: int) -> None:
    if len(counts) < 2 or counts.min() < 0 or counts.sum() > n:
        raise ValueError(
            f"Votes must be for two classes or more, and come from n samples. Received: {counts}, "
            f"n={n}"
        )


def float32_below(value: float) -> np.float32:
    """Returns the largest float32 number that is not above a float64 number.

    Examples:
        >>> float(float32_below(0.1)) <= 0.1
        True
    """
    nearest = np.float32(value)
    return nearest if float(nearest) <= value else np.nextafter(nearest, np.float32(-np.inf))


def majority_is_significant(first: int, second: int, alpha: float) -> bool:
    """Returns whether the leading class leads with an error of at most alpha.

    The two-sided binomial test of Cohen et al. (2019), section 3.2.1 and Hung and Fithian (2019):
    among the votes for the two leading classes, is a fair coin refuted?

    Args:
        first: int, votes of the leading class.
        second: int, votes of the class after it, and all that may have been its own.
        alpha: float in (0, 1).

    Examples:
        >>> majority_is_significant(70, 30, alpha=0.001)
        True
        >>> majority_is_significant(55, 45, alpha=0.001)
        False
    """
    alpha = check_alpha(alpha)
    if first <= second:
        return False
    return bool(scipy.stats.binomtest(first, first + second, 0.5).pvalue <= alpha)


def predicted_label(counts: NDArray[np.integer], n: int, alpha: float) -> int:
    """Returns the class that leads in n samples with an error of at most alpha, or -1.

    Samples without a vote (ties, logits that are not finite, unusable noise) may have been for any
    class: all of them count for the one after the leader.

    Args:
        counts: int array [classes], votes in n samples.
        n: int, samples, at least as many as there are votes.
        alpha: float in (0, 1).

    Raises:
        ValueError: if there are more votes than samples, or fewer than two classes.

    Examples:
        >>> predicted_label(np.array([3, 97]), n=100, alpha=0.001)
        1
        >>> predicted_label(np.array([45, 55]), n=100, alpha=0.001)
        -1
    """
    _check_votes(counts, n)
    second, first = (int(votes) for votes in np.sort(counts)[-2:])
    second += n - int(np.sum(counts))
    return int(np.argmax(counts)) if majority_is_significant(first, second, alpha) else -1
