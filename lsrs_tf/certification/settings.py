"""Checks of the settings that somebody certifies or predicts with."""

import numbers

from lsrs_tf.statistics import confidence

# What the probability of a class is held against, see `recertification.recertified`.
AGAINST = ("half", "runner_up")


def checked_count(value, name):
    """Returns a number of samples as an int, or raises if it is not one from 1 to `LARGEST_N`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not 1 <= value <= confidence.LARGEST_N:
        raise ValueError(
            f"`{name}` must be a whole number of at least 1, and at most {confidence.LARGEST_N}. "
            f"Received: {name}={value!r}"
        )
    return int(value)


def checked_seed(seed):
    """Returns a seed as an int, or raises if it is no 64-bit signed integer."""
    whole = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
    if not (whole and -(2**63) <= seed < 2**63):
        raise ValueError(
            "`seed` must be a whole number from -2**63 to 2**63 - 1 (for a fresh one, "
            f"`secrets.randbits(63)`). Received: seed={seed!r}"
        )
    return int(seed)


def checked_against(against):
    """Returns what a class is held against, or raises if it is not one of `AGAINST`."""
    if against not in AGAINST:
        raise ValueError(f"`against` must be one of {', '.join(AGAINST)}. Received: {against!r}")
    return against


def checked_certification_settings(n0, n, alpha, against="half"):
    """Returns (n0, n, alpha), or raises if they are impossible or could never certify anything."""
    n0, n, alpha = checked_count(n0, "n0"), checked_count(n, "n"), confidence.check_alpha(alpha)
    # Against the runner-up the class has half of alpha.
    smallest = confidence.smallest_certifying_n(alpha if against == "half" else alpha / 2)
    if n < smallest:
        raise ValueError(
            f"With n={n} samples nothing can be certified at alpha={alpha}, not even when all of "
            f"them agree. Use n={smallest} or more (100,000 is customary)."
        )
    return n0, n, alpha
