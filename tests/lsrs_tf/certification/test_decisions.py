import numpy as np

from lsrs_tf.certification.decisions import SequentialDecision
from lsrs_tf.certification.settings import Settings
from lsrs_tf.sampling.random_streams import ESTIMATION, SELECTION
from lsrs_tf.statistics.sequential import SequentialTest


def _test(p0, certify_from, give_up_to):
    looks = np.array([10, 20, 30])
    return SequentialTest(p0, 0.01, looks, np.array(certify_from), np.array(give_up_to))


def _decision(tests):
    radii = [0.1, 0.2][: len(tests)]
    settings = Settings(method="sequential", target_radii=radii, n0=5, n=30)
    return SequentialDecision(settings, tests, 2, clean_label=1)


def _after(tests, hits_at_looks):
    decision = _decision(tests)
    assert (decision.purpose, decision.wanted) == (SELECTION, 5)
    decision.add(np.array([0, 5]), 5)
    assert (decision.purpose, decision.wanted) == (ESTIMATION, 10)
    before = 0
    for hits in hits_at_looks:
        assert decision.certificate() is None
        decision.add(np.array([10 - (hits - before), hits - before]), 10)
        before = hits
    return decision.certificate()


LOW = _test(0.6, [10, 18, 26], [3, 12, -1])
HIGH = _test(0.8, [11, 20, 29], [5, 15, -1])


def test_certifies_gives_up_or_goes_on():
    assert _after([LOW], [10]).radius == 0.1
    assert _after([LOW], [3]).label == -1
    assert _after([LOW], [9]) is None
    assert _after([LOW], [9, 18]).radius == 0.1
    # At the last look nothing stays open.
    assert _after([LOW], [9, 17, 25]).radius == 0.0
    found = _after([LOW], [9, 17, 26])
    assert (found.label, found.radius, found.p_lower, found.samples) == (1, 0.1, 0.6, 35)
    np.testing.assert_array_equal(found.counts, [4, 26])


def test_largest_radius_below_the_first_that_fails():
    assert _after([LOW, HIGH], [10]) is None
    assert _after([LOW, HIGH], [10, 20]).radius == 0.2
    assert _after([LOW, HIGH], [10, 15]).radius == 0.1
    # The larger radius has been given up, the smaller one is still open.
    assert _after([LOW, HIGH], [5]) is None
    assert _after([LOW, HIGH], [5, 15, 25]).radius == 0.0
    assert _after([LOW, HIGH], [5, 15, 25]).label == -1


def test_a_decision_is_kept():
    # Certified at the first look, although the hits fall below the line at later ones.
    assert _after([LOW, HIGH], [10, 16, 20]).radius == 0.1


def test_part_of_a_look_decides_nothing():
    decision = _decision([LOW])
    decision.add(np.array([0, 5]), 5)
    decision.add(np.array([0, 7]), 7)
    assert decision.certificate() is None and decision.missing == 3
