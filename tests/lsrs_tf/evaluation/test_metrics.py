import numpy as np
import pytest

from lsrs_tf import evaluation

RADII = [0.5, 0.25, 0.0, 1.0]
CORRECT = [True, True, False, False]


@pytest.mark.parametrize(
    ("at", "expected"), [(0.0, 0.5), (0.25, 0.5), (0.26, 0.25), (0.5, 0.25), (0.75, 0.0)]
)
def test_certified_accuracy_counts_true_classes_only(at, expected):
    assert evaluation.certified_accuracy(RADII, CORRECT, at) == expected


def test_average_certified_radius_counts_wrong_classes_as_zero():
    assert evaluation.average_certified_radius(RADII, CORRECT) == 0.75 / 4


@pytest.mark.parametrize(
    ("radii", "correct"), [([], []), ([0.1], [True, False]), ([[0.1]], [[True]])]
)
def test_impossible_inputs_are_refused(radii, correct):
    with pytest.raises(ValueError, match="one radius"):
        evaluation.certified_accuracy(np.array(radii), np.array(correct), 0.0)
    with pytest.raises(ValueError, match="one radius"):
        evaluation.average_certified_radius(np.array(radii), np.array(correct))


def test_interval_holds_the_accuracy_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        correct = rng.uniform(size=40) < 0.7
        lower, upper = evaluation.certified_accuracy_interval(np.ones(40), correct, 0.5)
        assert lower <= correct.mean() <= upper
        held += lower <= 0.7 <= upper
    assert held >= 0.95 * 500
    assert evaluation.certified_accuracy_interval([1.0], [True], 2.0)[0] == 0.0
