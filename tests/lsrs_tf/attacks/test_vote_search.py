"""The search along a line, on votes whose law is known."""

import numpy as np
import pytest
import scipy.stats

from lsrs_tf.attacks.goal import Goal
from lsrs_tf.attacks.line_search import Segment
from lsrs_tf.attacks.vote_search import ASKED, Turn, VoteSearch
from lsrs_tf.statistics.confidence import predicted_label

N, LOOK = 1_000, 256
IMAGE = np.zeros((1, 1, 1), np.float32)


class _Line:
    """Votes for the classes at shares of a line, with noise, and what was asked of it."""

    def __init__(self, probabilities, longest=np.inf, seed=0, n=N):
        self._generator = np.random.default_rng(seed)
        self._probabilities, self._n = probabilities, n
        self.asked, self.looked = [], []
        # One pixel, .1 at the candidate: a share is its value times ten.
        segment = Segment(IMAGE, IMAGE + np.float32(0.1), longest)
        self.search = VoteSearch(segment, self.look, self.ask, n, self._votes(0.0, n))

    def _votes(self, share, samples):
        return self._generator.multinomial(samples, self._probabilities(share))

    def look(self, point):
        self.looked.append(10 * float(point.max()))
        return self._votes(self.looked[-1], LOOK), LOOK

    def ask(self, point):
        self.asked.append(10 * float(point.max()))
        return self._votes(self.asked[-1], self._n)


def _linear(boundary, distance):
    """A linear classifier of two classes: the quantile of class 0 falls from distance to 0."""
    return lambda share: _pair(scipy.stats.norm.cdf(distance * (1 - share / boundary)))


def _pair(probability):
    return [probability, 1 - probability]


@pytest.mark.parametrize("boundary", [0.7, 1.0, 1.6])
@pytest.mark.parametrize("distance", [2.0, 4.0])
def test_turns_of_a_linear_classifier_are_found_where_they_are(boundary, distance):
    # Where exactly half of all answers turn.
    votes = np.array([[k, N - k] for k in range(N + 1)])
    answers = np.array([predicted_label(pair, N, 0.001) for pair in votes])
    first_changed = np.flatnonzero(answers == 1).max() / N
    last_kept = np.flatnonzero(answers == 0).min() / N
    turns = {}
    for abstains, level in ((True, last_kept), (False, first_changed)):
        turns[abstains] = boundary * (1 - scipy.stats.norm.ppf(level) / distance)
    found = {True: [], False: []}
    for seed in range(12):
        line = _Line(_linear(boundary, distance), seed=seed)
        for abstains in (True, False):
            found[abstains].append(line.search.nearest(Turn(Goal(0), 0.001, abstains)))
    for abstains, shares in found.items():
        shares = [share for share in shares if share is not None]
        assert len(shares) >= 11
        # The noise of one answer, as a share.
        noise = boundary * np.sqrt(np.pi / 2 / N) / distance
        assert abs(np.median(shares) - turns[abstains]) < 2.5 * noise + 0.01 * boundary


def test_no_point_is_asked_twice_and_no_turn_asks_more_than_it_may():
    for seed in range(40):
        line = _Line(_linear(1.1, 0.5), seed=seed)
        before = 0
        for abstains in (True, False):
            line.search.nearest(Turn(Goal(0), 0.001, abstains))
            assert len(line.asked) - before <= ASKED
            before = len(line.asked)
        assert len(set(line.asked)) == len(line.asked)


@pytest.mark.parametrize("n", [1_000, 10_000])
@pytest.mark.parametrize(
    "quantile",
    [
        lambda share: float(np.interp(share, [0, 0.9, 1], [1, 1, -1])),
        lambda share: float(np.interp(share, [0, 0.9, 1], [2, 2, -2])),
        lambda share: 2 - 3 * share**16,
        lambda share: float(np.interp(share, [0, 0.5, 0.8, 1], [2, 0.1, 1, -1])),
    ],
)
def test_candidates_of_another_class_are_not_passed_over(quantile, n):
    for seed in range(20):
        # Nothing beyond the candidate is allowed, and before it the class does not change.
        line = _Line(
            lambda share: _pair(scipy.stats.norm.cdf(quantile(share))), 0.1 * (1 + 1e-6), seed, n
        )
        line.search.nearest(Turn(Goal(0), 0.001, abstains=True))
        share = line.search.nearest(Turn(Goal(0), 0.001 / 15, abstains=False))
        assert share is not None and 0.8 < share <= 1
        assert len(line.asked) == len(set(line.asked)) <= 2 * ASKED


def test_what_is_found_is_what_was_answered():
    for seed in range(20):
        line = _Line(lambda share: [0.4 - 0.1 * share, 0.3, 0.3 + 0.1 * share], seed=seed)
        answers = {}
        ask = line.search._ask
        line.search._ask = lambda point, ask=ask, answers=answers: answers.setdefault(
            float(point.max()), ask(point)
        )
        turn = Turn(Goal(0), 0.001, abstains=False)
        share = line.search.nearest(turn)
        if share is not None:
            point = Segment(IMAGE, IMAGE + np.float32(0.1)).point(share)
            assert predicted_label(answers[float(point.max())], N, 0.001) in (1, 2)


def test_nothing_is_found_where_no_answer_turns_and_little_is_asked_for_it():
    for probabilities in (lambda share: _pair(1.0), lambda share: _pair(0.9 + 0.02 * share)):
        line = _Line(probabilities)
        assert line.search.nearest(Turn(Goal(0), 0.001, abstains=True)) is None
        assert line.search.nearest(Turn(Goal(0), 0.001, abstains=False)) is None
        assert not line.asked
        assert len(line.looked) <= 8


def test_points_stay_within_the_longest_distance():
    # The boundary is at 1.02, and the candidate is as far as is allowed.
    line = _Line(_linear(1.02, 2.0), longest=0.1001)
    assert line.search.nearest(Turn(Goal(0), 0.001, abstains=True)) <= 1.0
    assert max(line.asked + line.looked) < 1.001
    assert _Line(_linear(1.02, 2.0), longest=0.05).search.nearest(Turn(Goal(0), 0.1, True)) is None


def test_votes_that_are_missing_or_do_not_depend_on_the_place_end_the_search():
    class _Empty(_Line):
        def _votes(self, share, samples):
            return np.zeros(2, np.int64)

    line = _Empty(None)
    # No votes are an abstention.
    assert line.search.nearest(Turn(Goal(0), 0.001, abstains=True)) is not None
    assert line.search.nearest(Turn(Goal(0), 0.001, abstains=False)) is None
    assert len(line.asked) <= 2 * ASKED
