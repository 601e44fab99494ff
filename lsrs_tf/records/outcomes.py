"""Which final votes can lead to which outcome of sequential tests.

A row tells the votes at the end, not those at the looks before. What is possible is followed from
look to look: the state of all tests, and the intervals of hits that some sequence of votes reaches
in that state. So a row is accepted if, and only if, there are votes that give it.
"""

import bisect
import collections
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from lsrs_tf.statistics.sequential import sequential_test

# Least and most hits, both included.
Interval: TypeAlias = tuple[int, int]
# By (samples, tests that certify).
Outcomes: TypeAlias = dict[tuple[int, int], list[Interval]]

_UNDECIDED, _CERTIFIED, _GIVEN_UP = range(3)


@functools.lru_cache(maxsize=16)
def possible_outcomes(probabilities: tuple[float, ...], n: int, alpha: float) -> Outcomes:
    """Returns the hits with which tests of several radii can have come to an end.

    Args:
        probabilities: tuple of floats, p0 of the test of each radius, in the order of the radii.
        n: int, the most samples.
        alpha: float in (0, 1).

    Returns:
        dict of (samples, certified) to a list of (least, most) hits, intervals that include both
        ends: after so many samples, and not before, the certificate was known, and it is that of
        the first `certified` tests (0 for an abstention).

    Raises:
        ValueError: if a test is impossible, see `sequential_test`.
    """
    tests = [sequential_test(p0, n, alpha) for p0 in probabilities]
    looks = tests[0].looks.tolist()
    boundaries = [
        (test.certify_from.tolist(), [most + 1 for most in test.give_up_to.tolist()])
        for test in tests
    ]
    outcomes: Outcomes = collections.defaultdict(list)
    running: dict[tuple[int, ...], list[Interval]] = {(_UNDECIDED,) * len(tests): [(0, 0)]}
    taken = 0
    for look, samples in enumerate(looks):
        last = look + 1 == len(looks)
        reached = collections.defaultdict(list)
        for state, intervals in running.items():
            wider = _merged([(least, most + samples - taken) for least, most in intervals])
            for least, most, after in _decided(state, wider, boundaries, look, last):
                reached[after].append((least, most))
        running = {}
        for state, intervals in reached.items():
            certified = _certified(state)
            if certified is None:
                running[state] = _merged(intervals)
            else:
                outcomes[samples, certified].extend(intervals)
        taken = samples
    return {key: _merged(intervals) for key, intervals in outcomes.items()}


def can_end(outcomes: Outcomes, samples: int, certified: int, hits: int) -> bool:
    """Returns whether so many hits are among `possible_outcomes`."""
    return any(least <= hits <= most for least, most in outcomes.get((samples, certified), ()))


def _decided(
    state: tuple[int, ...],
    intervals: Iterable[Interval],
    boundaries: Sequence[tuple[list[int], list[int]]],
    look: int,
    last: bool,
) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yields (least, most, state after the look) for the parts of intervals of hits."""
    cuts = sorted(
        {
            limits[look]
            for before, both in zip(state, boundaries, strict=True)
            if before == _UNDECIDED
            for limits in both
        }
    )
    for least, most in intervals:
        inner = cuts[bisect.bisect_right(cuts, least) : bisect.bisect_right(cuts, most)]
        starts = [least, *inner]
        for start, end in zip(starts, [*(cut - 1 for cut in inner), most], strict=True):
            after = tuple(
                before if before != _UNDECIDED else _decision(both, look, last, start)
                for before, both in zip(state, boundaries, strict=True)
            )
            yield start, end, after


def _decision(boundaries: tuple[list[int], list[int]], look: int, last: bool, hits: int) -> int:
    certify_from, hopeful_from = boundaries
    if hits >= certify_from[look]:
        return _CERTIFIED
    if hits < hopeful_from[look] or last:
        return _GIVEN_UP
    return _UNDECIDED


def _certified(state: tuple[int, ...]) -> int | None:
    """Returns how many tests certify before the first that does not, or None if that is open."""
    for index, test in enumerate(state):
        if test == _GIVEN_UP:
            return index
        if test == _UNDECIDED:
            return None
    return len(state)


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Returns intervals of whole numbers in ascending order, those that touch made one."""
    merged: list[Interval] = []
    for least, most in sorted(intervals):
        if merged and least <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(most, merged[-1][1]))
        else:
            merged.append((least, most))
    return merged
