"""Metrics of a certified test set.

A certificate counts only if the certified class is the true one; abstentions count as errors.
"""

import fractions

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray


def certified_accuracy(radii: ArrayLike, correct: ArrayLike, at: float) -> float:
    """Returns the fraction of images certified with the true class at a radius of at least `at`.

    Args:
        radii: float array [images], certified L2 radii.
        correct: bool array [images], whether the certified class is the true one.
        at: float, L2 radius; at 0 this is the accuracy of the smoothed classifier.

    Examples:
        >>> radii, correct = [0.6, 0.3, 0.0, 0.8], [True, True, False, True]
        >>> evaluation.certified_accuracy(radii, correct, at=0.5)
        0.5
    """
    return float(exact_certified_accuracy(radii, correct, at))


def exact_certified_accuracy(radii: ArrayLike, correct: ArrayLike, at: float) -> fractions.Fraction:
    """Returns `certified_accuracy` as a `fractions.Fraction`, for rounding down.

    Args:
        radii: float array [images], certified L2 radii.
        correct: bool array [images], whether the certified class is the true one.
        at: float, L2 radius.

    Examples:
        >>> radii, correct = [0.6, 0.3, 0.0, 0.8], [True, True, False, True]
        >>> evaluation.exact_certified_accuracy(radii, correct, at=0.25)
        Fraction(3, 4)
    """
    radii, correct = _checked(radii, correct)
    return fractions.Fraction(int(np.count_nonzero(correct & (radii >= at))), len(radii))


def certified_accuracy_interval(
    radii: ArrayLike, correct: ArrayLike, at: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Returns a confidence interval of the certified accuracy on all images of this kind.

    The two-sided Clopper-Pearson interval of the binomial law. It is about the choice of the test
    images, and says nothing about any one certificate.

    Args:
        radii: float array [images], certified L2 radii.
        correct: bool array [images], whether the certified class is the true one.
        at: float, L2 radius.
        confidence: float in (0, 1), probability that the interval holds the accuracy.

    Returns:
        (lower, upper), floats in [0, 1].

    Examples:
        >>> radii, correct = [0.6, 0.3, 0.0, 0.8], [True, True, False, True]
        >>> lower, upper = evaluation.certified_accuracy_interval(radii, correct, at=0.5)
        >>> round(lower, 3), round(upper, 3)
        (0.068, 0.932)
    """
    radii, correct = _checked(radii, correct)
    certified = int(np.count_nonzero(correct & (radii >= at)))
    interval = scipy.stats.binomtest(certified, len(radii)).proportion_ci(confidence)
    return float(interval.low), float(interval.high)


def average_certified_radius(radii: ArrayLike, correct: ArrayLike) -> float:
    """Returns the ACR: the mean over all images of the radius, or 0 where the class is wrong.

    Source: Zhai et al., "MACER" (2020); LS-RS paper, section 4. Alone it is a poor metric, because
    a few large radii can outweigh many images; report certified accuracy as well.

    Args:
        radii: float array [images], certified L2 radii.
        correct: bool array [images], whether the certified class is the true one.

    Examples:
        >>> radii, correct = [0.6, 0.3, 0.0, 0.8], [True, True, False, True]
        >>> evaluation.average_certified_radius(radii, correct)
        0.425
    """
    return float(exact_average_certified_radius(radii, correct))


def exact_average_certified_radius(radii: ArrayLike, correct: ArrayLike) -> fractions.Fraction:
    """Returns `average_certified_radius` as a `fractions.Fraction`, for rounding down.

    A radius stands for the decimal that it is written as.

    Args:
        radii: float array [images], certified L2 radii.
        correct: bool array [images], whether the certified class is the true one.

    Examples:
        >>> radii, correct = [0.6, 0.3, 0.0, 0.8], [True, True, False, True]
        >>> evaluation.exact_average_certified_radius(radii, correct)
        Fraction(17, 40)
    """
    radii, correct = _checked(radii, correct)
    total = sum(
        (fractions.Fraction(str(radius)) for radius in radii[correct]), fractions.Fraction()
    )
    return total / len(radii)


def _checked(radii: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    radii, correct = np.asarray(radii, np.float64), np.asarray(correct, bool)
    if radii.shape != correct.shape or radii.ndim != 1 or not radii.size:
        raise ValueError(
            "Metrics need one radius and one correctness for each image, and at least one image. "
            f"Received: shapes {radii.shape} and {correct.shape}"
        )
    return radii, correct
