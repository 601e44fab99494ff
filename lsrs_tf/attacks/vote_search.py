"""Where on a line the answer of a smoothed classifier turns, found with few samples."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lsrs_tf.attacks.goal import Goal
from lsrs_tf.attacks.line_search import Image, Segment
from lsrs_tf.statistics.confidence import predicted_label

# Points that are asked with all samples at most, for each turn, the candidate included.
ASKED = 5
_ASKED_OF_SEARCH = ASKED - 1
# Points that are looked at with few samples at most, for each turn.
_LOOKS = 4
# The largest step from a point that is known, as a factor, and the end of the line.
_STEP, _FURTHEST = 1.5, 4.0
# Shares that differ by less, relatively, are not told apart: the noise of votes is larger.
_CLOSE = 0.05
# Two points of a line are so far apart, or the noise of their votes decides where it goes.
_APART = 0.15
# A point is asked so far beyond the turn, and further after each failure, in standard deviations of
# the quantile of its votes.
_BEYOND = (0.0, 1.0, 2.0, 4.0, 0.0)
# After so many failures the line that goes further decides.
_PATIENCE = 2
# After a failure a point at least so much further is asked.
_FURTHER = 1.02
# A success is tightened where it may come nearer by as much.
_NEARER = 1.04
# Standard deviation of the quantile of a share of n votes near one half, times the root of n.
_DEVIATION = math.sqrt(math.pi / 2)


@dataclasses.dataclass(frozen=True)
class _Known:
    """The votes at a share of the segment, int array [classes], of so many samples."""

    share: float
    votes: NDArray[np.int64]
    samples: int

    @property
    def deviation(self) -> float:
        """Standard deviation of a quantile of these votes, near one half."""
        return _DEVIATION / math.sqrt(self.samples)


@dataclasses.dataclass(frozen=True)
class Turn:
    """An answer that is looked for.

    Attributes:
        goal: `Goal`.
        alpha: float, the error of the answer.
        abstains: bool, whether an abstention will do; else another class has to lead.
    """

    goal: Goal
    alpha: float
    abstains: bool

    def reached(self, votes: NDArray[np.int64], n: int) -> bool:
        """Returns whether the answer of votes in n samples is what is looked for."""
        answer = predicted_label(votes, n, self.alpha)
        return self.goal.reached(answer) if self.abstains else self.goal.changed(answer)

    def quantile(self, votes: NDArray[np.int64]) -> float:
        """Returns the standard normal quantile of what the class to be led by has of two classes'.

        Of the label and the class after it; where another class has to lead, of the strongest one
        that it has to lead and itself.
        """
        staying, leading = self._pair(votes)
        # Half a vote more for each keeps the quantile finite.
        return float(ndtri((staying + 0.5) / (staying + leading + 1)))

    def level(self, votes: NDArray[np.int64], scale: float) -> float:
        """Returns the quantile at which the answer turns, with so many times the votes."""
        half_width = -ndtri(self.alpha / 2) / (
            2 * math.sqrt(max(1.0, scale * sum(self._pair(votes))))
        )
        sign = 1 if self.abstains else -1
        return float(ndtri(np.clip(0.5 + sign * half_width, 0.02, 0.98)))

    def _pair(self, votes: NDArray[np.int64]) -> tuple[int, int]:
        """Returns the votes of the class that has to lose its lead, and of that which gains it."""
        others = np.array(votes)
        if self.goal.target is None:
            others[self.goal.label] = -1
            gaining = int(others.argmax())
        else:
            gaining = self.goal.target
        if self.abstains:
            return int(votes[self.goal.label]), int(votes[gaining])
        return int(np.delete(votes, gaining).max()), int(votes[gaining])


class VoteSearch:
    """The line from an image through a candidate, with the votes that are known on it.

    Along a line the share of the votes of a linear classifier under Gaussian noise is the normal
    distribution function of a linear function (Cohen et al. 2019, appendix B). So the quantiles of
    shares of votes are interpolated; where the classifier is not linear, every point that is looked
    at brings the next one nearer. What counts are the answers at points that are asked, with all
    samples: `ASKED` points of a turn at most, so that the errors of these answers add up. Two turns
    share no point but the candidate.

    Args:
        segment: `Segment`.
        look: function of an image that returns (votes of few samples, int array [classes]; how many
            samples).
        ask: function of an image that returns the votes of all n samples.
        n: int.
        first_votes: int array [classes], the votes of n samples for the original.
    """

    def __init__(
        self,
        segment: Segment,
        look: Callable[[Image], tuple[NDArray[np.int64], int]],
        ask: Callable[[Image], NDArray[np.int64]],
        n: int,
        first_votes: NDArray[np.int64],
    ) -> None:
        self._segment, self._look, self._ask, self._n = segment, look, ask, n
        self._known = [_Known(0.0, first_votes, n)]
        self._asked: set[float] = set()

    def nearest(self, turn: Turn) -> float | None:
        """Returns the smallest share found at which the classifier answers as wanted, or None."""
        best, failed, looks, asked = None, [], 0, 0
        share = self._allowed(1.0) if len(self._known) == 1 else self._next(turn, failed)
        while share is not None and (best is None or share * _NEARER <= best):
            if looks < _LOOKS and not self._is_known_near(share):
                self._known.append(_Known(share, *self._look(self._segment.point(share))))
                looks += 1
            elif asked == _ASKED_OF_SEARCH or self._is_hopeless(turn, share):
                break
            else:
                asked += 1
                if self._succeeds(turn, share):
                    best = share
                else:
                    failed.append(share)
            share = self._next(turn, failed)
        if best is None and self._candidate_succeeds(turn):
            return 1.0
        return best

    def _candidate_succeeds(self, turn: Turn) -> bool:
        """Asks at the candidate, which lines through points before it may have passed over."""
        known = [one for one in self._known if one.share == 1.0]
        if not self._segment.allows(1.0) or all(self._value(turn, one) >= 0 for one in known):
            return False
        if 1.0 in self._asked:
            # For another turn: the last that is known of it.
            return turn.reached(known[-1].votes, self._n)
        return self._succeeds(turn, 1.0)

    def _succeeds(self, turn: Turn, share: float) -> bool:
        """Asks at a share."""
        votes = self._ask(self._segment.point(share))
        self._asked.add(share)
        self._known.append(_Known(share, votes, self._n))
        return turn.reached(votes, self._n)

    def _next(self, turn: Turn, failed: list[float]) -> float | None:
        """Returns the share to look at or to ask next, or None where there is none."""
        crossing = self._crossing(turn, len(failed))
        share = max(crossing, *(_FURTHER * at for at in failed), 0.0)
        # What is asked there is known, or was asked for another turn; or a look has refuted it.
        further = dict.fromkeys(self._asked, _FURTHER)
        for one in self._known[1:]:
            if one.share not in self._asked and self._value(turn, one) > 3 * one.deviation:
                further[one.share] = 1 + 2 * _CLOSE
        while close := [
            at * by
            for at, by in further.items()
            if abs(share / at - 1) < by - 1 and share < at * by
        ]:
            share = max(close)
        return self._allowed(share)

    def _allowed(self, share: float) -> float | None:
        """Returns a share, or that of the candidate if it goes too far, or None."""
        if share > _FURTHEST:
            return None
        if not self._segment.allows(share):
            share = 1.0
        return share if self._segment.allows(share) and share not in self._asked else None

    def _crossing(self, turn: Turn, failures: int) -> float:
        """Returns where lines through known points go beyond the turn, or a step further."""
        origin, *others = self._known
        near = min(others, key=lambda one: abs(self._value(turn, one)) + one.deviation)
        value = self._value(turn, near) + _BEYOND[failures] * origin.deviation
        apart = [one for one in others if abs(one.share - near.share) > _APART * near.share]
        apart.sort(key=lambda one: abs(one.share - near.share))
        crossings = []
        for one in (*apart[:1], origin):
            rise = turn.quantile(near.votes) - turn.quantile(one.votes)
            slope = rise / (near.share - one.share)
            if slope < 0:
                crossings.append(near.share - value / slope)
        # The nearer points say more of where it is, but their line may be too steep by chance.
        crossing = max(crossings[: 1 if failures < _PATIENCE else 2], default=np.inf)
        return float(np.clip(crossing, near.share / _STEP, near.share * _STEP))

    def _value(self, turn: Turn, one: _Known) -> float:
        """Returns how far the votes are from the turn, as if all samples voted as those known."""
        return turn.quantile(one.votes) - turn.level(one.votes, self._n / one.samples)

    def _is_known_near(self, share: float) -> bool:
        return any(abs(one.share - share) <= _CLOSE * share for one in self._known)

    def _is_hopeless(self, turn: Turn, share: float) -> bool:
        """Returns whether the point that is known next to a share speaks clearly against it."""
        near = min(self._known, key=lambda one: abs(one.share - share))
        other = near.share == share or abs(near.share - share) > _CLOSE * share
        return other and self._value(turn, near) > 3 * near.deviation
