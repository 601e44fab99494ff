"""Input-specific sampling, to compare the tolerance of `lsrs_tf.certify` with.

Source: Chen et al., "Input-Specific Robustness Certification for Randomized Smoothing" (2022). A
pilot gives an interval of the probability of a class; the fewest samples are taken whose radius is
nowhere in this interval further than a tolerance below that of the most samples. Fixed here: the
pilot's samples are not those of the estimate, which otherwise would not be one at alpha.
"""

import functools

import numpy as np
import scipy.special
import scipy.stats

from lsrs_tf.statistics.sequential import sequential_looks

_PILOT_CONFIDENCE = 0.999
_GRID = 33


@functools.lru_cache(maxsize=65_536)
def input_specific_samples(hits, pilot, n, alpha, tolerance):
    """Returns how many samples an image gets.

    Args:
        hits: int, votes for the class in the pilot.
        pilot: int, samples of the pilot.
        n: int, the most samples.
        alpha: float in (0, 1).
        tolerance: float above 0, in units of sigma.
    """
    interval = scipy.stats.binomtest(hits, pilot).proportion_ci(_PILOT_CONFIDENCE)
    shares = np.linspace(interval.low, interval.high, _GRID)
    most = _radii(shares, np.array([n]), alpha)[0]
    looks = sequential_looks(n)
    enough = (most - _radii(shares, looks, alpha) <= tolerance).all(axis=1)
    return int(looks[enough.argmax()])


def _radii(shares, samples, alpha):
    """Returns the radii [samples, shares], in units of sigma, for the expected numbers of hits."""
    samples = samples[:, np.newaxis]
    hits = np.rint(shares * samples)
    lower = scipy.special.betaincinv(np.maximum(hits, 1), samples - hits + 1, alpha)
    return np.maximum(scipy.special.ndtri(np.where(hits > 0, lower, 0.5)), 0.0)
