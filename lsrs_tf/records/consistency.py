"""Whether what a record claims follows from its own votes and settings.

All readers use it, by `reading`: resuming, report, recertification and merging.

- Fixed n: label, radius and `p_lower` are functions of the row, and must be theirs.
- Target radii: the final votes must be among those with which the tests can have ended at this
  number of samples with this radius (`outcomes`), and `p_lower` is the p0 of the radius.
- Tolerance: the file tells selection, pilot and estimation in one number of samples. The pilot has
  one of few sizes, so that few sizes of the estimate are left; one of them must give `p_lower` and
  the radius.
- Margins: label, rival and margin must be those of the logits, and the radius that of the margin.
  The bounds of the pairs of classes belong to the model and are not in the file, so that a rival
  that should have limited the radius more is not noticed.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsrs_tf.records import schema
from lsrs_tf.records.margins import check_margin
from lsrs_tf.records.notation import shown, written_radius
from lsrs_tf.records.outcomes import can_end, possible_outcomes
from lsrs_tf.records.schema import Record
from lsrs_tf.statistics.radius_scale import RadiusScale
from lsrs_tf.statistics.sample_plans import pilot_sizes
from lsrs_tf.statistics.sequential import sequential_looks

# What can be checked has these columns.
NEEDED = frozenset({"n", "alpha", "sigma", "lipschitz", *schema.VOTE_COLUMNS})
# By how much `p_lower` may differ, relatively, and a radius, relatively to the radius of one
# standard deviation and to itself: another SciPy rounds differently, by about 1e-13.
_P_TOLERANCE = 1e-9
_RADIUS_TOLERANCE = 1e-8
# Larger sequential tests are not checked: their boundaries are computed here.
_MOST_SEQUENTIAL, _LEAST_ALPHA = 10**7, 1e-100


def check(record: Record) -> None:
    """Raises if what a record claims does not follow from its own votes.

    Records without votes or settings, as those of other packages are, are taken as they are.

    Args:
        record: `Record`.

    Raises:
        ValueError: if it was damaged or edited.
    """
    if record.has_margins and record.value("method") == "margin":
        check_margin(record)
        return
    if not set(record.extra) >= NEEDED:
        return
    try:
        _check_claim(_Claim(record), record.value("method"))
    except ArithmeticError as error:
        # Numbers that are possible one by one may be too much for SciPy together.
        raise ValueError(f"nothing can be computed from its settings ({error})") from error


def _check_claim(claim: "_Claim", method: str) -> None:
    record = claim.record
    if method == "fixed":
        _check_fixed(claim)
    elif method == "sequential" and record.value("target_radii") is not None:
        _check_target_radii(claim)
    elif method == "sequential" and record.value("tolerance") is not None:
        _check_tolerance(claim)
    else:
        raise ValueError(
            "column method must be fixed, or sequential with target_radii or with a tolerance; "
            f"received {record.extra['method']!r}"
        )


def check_settings(records: Sequence[Record]) -> None:
    """Raises if records with votes were made with different settings.

    Those of other packages may differ in what they call sigma, for instance.

    Args:
        records: list of `Record`, of one file.

    Raises:
        ValueError: if they differ; the message has three of the values at most.
    """
    if not (records and (records[0].has_votes or records[0].has_margins)):
        return
    for name in schema.names(schema.SETTING):
        values = sorted({record.extra[name] for record in records if name in record.extra})
        if len(values) > 1:
            further = f" and {len(values) - 3} more" if len(values) > 3 else ""
            raise ValueError(
                f"{name} is {', '.join(map(shown, values[:3]))}{further}, so that the rows mean "
                "nothing together. Put rows of different settings into different files."
            )


class _Claim:
    """The columns of a record that a check needs, each of them a possible value."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.n = self._setting("n", 1, math.inf)
        self.alpha = self._setting("alpha", 0.0, 1.0, strictly=True)
        self.scale = RadiusScale(
            self._setting("sigma", 0.0, math.inf, strictly=True),
            self._setting("lipschitz", 0.0, math.inf, strictly=True),
            self._setting("radius_loss", 0.0, math.inf),
        )
        self.against = record.value("against")
        if self.against not in ("half", "runner_up"):
            raise ValueError(f"column against must be half or runner_up; received {self.against!r}")
        self.n0 = self._setting("n0", 1, math.inf) if "n0" in record.extra else None
        self.samples = record.value("samples")
        votes = record.votes
        if votes is None:
            raise ValueError("it has columns of votes, but no votes")
        self.selection, self.counts = votes
        if len(self.selection) != len(self.counts):
            raise ValueError(f"{len(self.selection)} and {len(self.counts)} classes have votes")
        if self.n0 is not None:
            check_votes(self.selection, self.n0)
        self.label = int(np.argmax(self.selection))
        self.hits = int(self.counts[self.label])

    def _setting(self, name: str, least: float, most: float, strictly: bool = False) -> Any:
        value = self.record.value(name)
        if value is None or not least <= value <= most or (strictly and value in (least, most)):
            raise ValueError(
                f"column {name} must lie between {least:g} and {most:g}; received "
                f"{self.record.extra.get(name)!r}"
            )
        return value

    @property
    def after_selection(self) -> int:
        """Samples after those of selection."""
        if self.n0 is None or self.samples is None:
            raise ValueError("a row of --method=sequential needs columns n0 and samples")
        return self.samples - self.n0

    def of_fixed_size(self, n: int) -> tuple[float, float]:
        """Returns (radius, p_lower) of the votes for an estimate of so many samples."""
        return self.scale.proven(
            self.counts, self.label, n=n, alpha=self.alpha, against=self.against
        )

    def states_p_lower(self, p_lower: float) -> bool:
        """Returns whether `p_lower` is the row's, where the file has it."""
        if "p_lower" not in self.record.extra:
            return True
        stated = self.record.value("p_lower")
        return stated is not None and math.isclose(
            stated, p_lower, rel_tol=_P_TOLERANCE, abs_tol=0.0
        )

    def states_radius(self, radius: float) -> bool:
        """Returns whether a radius and its label are the row's: rounded down, or as it is."""
        slack = _RADIUS_TOLERANCE * (self.scale.sigma / self.scale.lipschitz + radius)
        least = float(written_radius(max(0.0, radius - slack)))
        most = radius + slack if radius > 0 else 0.0
        labels = {self.label} if radius > slack else {-1} if radius == 0 else {self.label, -1}
        return least <= self.record.radius <= most and self.record.predict in labels

    @property
    def text(self) -> str:
        """The claim, for a message."""
        record = self.record
        what = (
            "an abstention"
            if record.predict == -1
            else f"radius {record.radius:.9g} of class {record.predict}"
        )
        return f"{what} with p_lower {record.extra.get('p_lower', 'unknown')}"


def check_votes(votes: NDArray[np.int64], samples: int) -> None:
    """Raises if votes [classes] cannot come from so many samples."""
    if votes.sum() > samples:
        raise ValueError(f"votes {votes.tolist()} cannot come from {samples} samples")


def _check_fixed(claim: _Claim) -> None:
    check_votes(claim.counts, claim.n)
    if None not in (claim.n0, claim.samples) and claim.samples != claim.n0 + claim.n:
        raise ValueError(f"samples is {claim.samples}, but n0 and n are {claim.n0} and {claim.n}")
    radius, p_lower = claim.of_fixed_size(claim.n)
    if not (claim.states_radius(radius) and claim.states_p_lower(p_lower)):
        raise ValueError(
            f"its votes prove {_proven(claim, radius)} with p_lower {p_lower!r}, but it claims "
            f"{claim.text}"
        )


def _proven(claim: _Claim, radius: float) -> str:
    if radius == 0:
        return "nothing"
    return f"radius {written_radius(radius)} of class {claim.label}"


def _check_target_radii(claim: _Claim) -> None:
    samples, targets = claim.after_selection, claim.record.value("target_radii")
    _check_half(claim)
    if claim.n > _MOST_SEQUENTIAL or claim.alpha < _LEAST_ALPHA:
        raise ValueError(
            f"no sequential test is made for n above {_MOST_SEQUENTIAL} or alpha below "
            f"{_LEAST_ALPHA}"
        )
    if samples not in sequential_looks(claim.n):
        raise ValueError(
            f"{samples} samples after those of selection are not a number at which its tests decide"
        )
    check_votes(claim.counts, samples)
    needed = tuple(map(claim.scale.probability_needed, targets))
    possible = possible_outcomes(needed, claim.n, claim.alpha)
    # Certificates that the row may claim, by the number of tests that certify.
    claimed = [
        certified
        for certified, (radius, p_lower) in enumerate(
            [(0.0, 0.0), *zip(targets, needed, strict=True)]
        )
        if claim.states_radius(radius) and claim.states_p_lower(p_lower)
    ]
    if not claimed:
        raise ValueError(f"it claims {claim.text}, which is none of its target radii {targets}")
    if not any(can_end(possible, samples, certified, claim.hits) for certified in claimed):
        raise ValueError(
            f"it claims {claim.text}, which {claim.hits} votes for class {claim.label} after "
            f"{samples} samples cannot have decided"
        )


def _check_tolerance(claim: _Claim) -> None:
    samples = claim.after_selection
    _check_half(claim)
    looks = {*sequential_looks(claim.n).tolist()}
    sizes = [
        samples - pilot
        for pilot in pilot_sizes(claim.n)
        if samples - pilot in looks and samples - pilot >= claim.counts.sum()
    ]
    if not sizes:
        raise ValueError(
            f"its votes {claim.counts.tolist()} and {samples} samples after those of selection fit "
            "no plan of pilot samples and an estimate"
        )
    for size in sizes:
        radius, p_lower = claim.of_fixed_size(size)
        if claim.states_radius(radius) and claim.states_p_lower(p_lower):
            return
    radius, p_lower = claim.of_fixed_size(min(sizes))
    raise ValueError(
        f"its votes prove {_proven(claim, radius)} with p_lower {p_lower!r} at most, but it claims "
        f"{claim.text}"
    )


def _check_half(claim: _Claim) -> None:
    if claim.against != "half":
        raise ValueError("column against must be half for --method=sequential")
