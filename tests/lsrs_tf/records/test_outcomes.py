import itertools

import numpy as np
import pytest

from lsrs_tf.certification.decisions import SequentialDecision
from lsrs_tf.certification.settings import Settings
from lsrs_tf.records.outcomes import can_end, possible_outcomes
from lsrs_tf.statistics.radius_scale import RadiusScale
from lsrs_tf.statistics.sequential import sequential_test

RADII = (0.02, 0.1, 0.2)


def _needed(radii):
    return tuple(RadiusScale(0.25, 1.0).probability_needed(radius) for radius in radii)


def _run(radii, tests, hits):
    """Returns (samples, certified, hits) of the tests of one image with these hits at the looks."""
    settings = Settings(method="sequential", target_radii=radii, n0=1, n=60, alpha=0.05)
    image = SequentialDecision(settings, tests, 2, 0)
    image.add(np.array([1, 0]), 1)
    before = taken = 0
    for after, look in zip(hits, tests[0].looks.tolist(), strict=False):
        image.add(np.array([after - before, 0]), look - taken)
        before, taken = after, look
        if (certificate := image.certificate()) is not None:
            return taken, (0.0, *radii).index(certificate.radius), int(certificate.counts[0])
    return None


@pytest.mark.parametrize("radii", [RADII, RADII[:1], RADII[::2]])
def test_outcomes_are_those_of_all_sequences_of_votes(radii):
    n, alpha = 60, 0.05
    tests = [sequential_test(p0, n, alpha) for p0 in _needed(radii)]
    steps = np.diff(tests[0].looks, prepend=0).tolist()
    expected = set()
    for parts in itertools.product(*(range(step + 1) for step in steps)):
        expected.add(_run(radii, tests, np.cumsum(parts).tolist()))
    found = {
        (samples, certified, hits)
        for (samples, certified), intervals in possible_outcomes(_needed(radii), n, alpha).items()
        for least, most in intervals
        for hits in range(least, most + 1)
    }
    assert found == expected


def test_outcomes_of_long_tests_hold_what_votes_give():
    n, alpha, radii = 20_000, 0.001, (0.05, 0.1, 0.2, 0.3)
    tests = [sequential_test(p0, n, alpha) for p0 in _needed(radii)]
    possible = possible_outcomes(_needed(radii), n, alpha)
    rng = np.random.default_rng(0)
    steps = np.diff(tests[0].looks, prepend=0)
    certified = set()
    for p in rng.uniform(0.4, 1, 300):
        samples, count, hits = _run(radii, tests, np.cumsum(rng.binomial(steps, p)).tolist())
        assert can_end(possible, samples, count, hits)
        certified.add(count)
    assert certified == {0, 1, 2, 3, 4}


def test_what_cannot_be_is_no_outcome():
    possible = possible_outcomes(_needed(RADII), 1_000, 0.01)
    assert not can_end(possible, 20, 3, 0)
    assert not can_end(possible, 20, 3, 11)
    assert not can_end(possible, 21, 3, 21)
    assert can_end(possible, 40, 3, 40)
    # All tests certify at unanimous votes early on, so that no later look is reached with them.
    assert not can_end(possible, 1_000, 3, 1_000)


def test_impossible_tests_are_refused():
    with pytest.raises(ValueError, match="cannot be shown with n=20"):
        possible_outcomes(_needed([5.0]), 20, 0.01)
