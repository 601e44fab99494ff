"""What the report says of certificates and attacks on the same images."""

import dataclasses
import functools

import matplotlib.figure
import numpy as np

from lsrs_tf.evaluation.clever import CleverResult
from lsrs_tf.evaluation.metrics import certified_accuracy
from lsrs_tf.evaluation.sandwich import accuracy_under_attack, contradictions, tightness
from lsrs_tf.evaluation.tables import markdown_table, rounded_down
from lsrs_tf.records import estimates
from lsrs_tf.records.attacks import PATTERN, AttackRecord, read_attacks
from lsrs_tf.records.summary import UNKNOWN, Run


@dataclasses.dataclass(frozen=True)
class Sandwich:
    """The images of a run that were certified and attacked.

    Attributes:
        name: str.
        run: `Run`.
        attacks: dict of index to list of `AttackRecord`, those of all files.
        estimates: dict of index to `EstimateRecord`, of the images that were estimated as well.
    """

    name: str
    run: Run
    attacks: dict[int, list[AttackRecord]]
    estimates: dict[int, estimates.EstimateRecord]

    @functools.cached_property
    def pairs(self):
        """List of (`Record`, list of `AttackRecord`) of the images that have both."""
        return [
            (record, self.attacks[record.idx])
            for record in self.run.records
            if record.idx in self.attacks
        ]

    @property
    def radii(self):
        """Float array [images], certified radii."""
        return np.array([record.radius for record, _ in self.pairs])

    @property
    def correct(self):
        """Bool array [images], whether the certified class is the true one."""
        return np.array([record.correct for record, _ in self.pairs])

    @property
    def distances(self):
        """Float array [images], the smallest distance of any attack."""
        return np.array([min(one.distance for one in several) for _, several in self.pairs])

    @property
    def estimated(self):
        """Float array [images], CLEVER scores, NaN where there is none."""
        return np.array(
            [
                self.estimates[record.idx].distance if record.idx in self.estimates else np.nan
                for record, _ in self.pairs
            ]
        )

    @property
    def methods(self):
        """Names of the attacks, as text."""
        return ", ".join(sorted({one.extra["attack"] for _, all_ in self.pairs for one in all_}))

    def contradictions(self):
        """Returns the `Contradictions` of correct certificates and attacks."""
        pairs = [(record, found) for record, found in self.pairs if record.correct]
        probability = 0.0
        if self.run.setting("method") != "margin":
            attempts = max((len(found) for _, found in pairs), default=1)
            probability = _number(pairs, "alpha") + attempts * max(
                (float(one.extra["alpha"]) for _, found in pairs for one in found), default=0.0
            )
        return contradictions(
            [record.idx for record, _ in pairs],
            [record.radius for record, _ in pairs],
            [min(one.changed_distance for one in found) for _, found in pairs],
            probability,
            independent=self.run.setting("shared_noise") not in ("1", "True"),
        )


def _number(pairs, name):
    return max((record.value(name) or 0.0 for record, _ in pairs), default=0.0)


def sandwiches(runs):
    """Returns the `Sandwich` of each run whose folder holds files of attacks on its classifier.

    Args:
        runs: dict of name to `Run`.

    Raises:
        ValueError: if attacks are on another model, another sigma, or other images.
    """
    found = [Sandwich(name, run, _attacks(run), _estimates(run)) for name, run in runs.items()]
    return [one for one in found if one.pairs]


def left_out(runs):
    """Returns a line for each file of attacks or estimates that is not about what a run certifies.

    Args:
        runs: list of `Run`.
    """
    lines = []
    for run in runs:
        for path in _files(run, PATTERN):
            others = {one.extra["classifier"] for one in read_attacks(path)} - {_attackable(run)}
            if others:
                lines.append(
                    f"Left out: {path} attacks the {others.pop()} classifier, and the certificates "
                    f"are about the {_certified(run)} one.\n"
                )
        if _certified(run) != "base":
            lines += [
                f"Left out: {path} is about the base classifier, and the certificates are about "
                "the smoothed one.\n"
                for path in _files(run, estimates.PATTERN)
            ]
    return lines


def _files(run, pattern):
    """Returns the files of a pattern in the folder of a run, in order."""
    return sorted(run.path.glob(pattern)) if run.path.is_dir() else []


def _certified(run):
    """Returns which classifier of the model a run certifies, as text."""
    if run.setting("head_dtype") != UNKNOWN:
        return f"smoothed, {run.setting('head_dtype')}"
    return "base" if run.setting("method") == "margin" else "smoothed"


def _attackable(run):
    """Returns the classifier of a run as files of attacks name it, or None if they have no name.

    They attack the head in its own dtype: cast to another one it is another classifier, which may
    well answer otherwise inside such a certificate.
    """
    classifier = _certified(run)
    return classifier if classifier in ("base", "smoothed") else None


def _attacks(run):
    classifier = _attackable(run)
    records = {record.idx: record for record in run.records}
    attacks = {}
    for path in _files(run, PATTERN):
        for one in read_attacks(path):
            # Attacks on the other classifier of the model say nothing about these certificates.
            if one.extra["classifier"] != classifier or one.idx not in records:
                continue
            _check_same(path, one, records[one.idx])
            attacks.setdefault(one.idx, []).append(one)
    return attacks


def _estimates(run):
    """Returns dict of index to the `EstimateRecord` of an image; shards have different images."""
    if _certified(run) != "base":
        return {}
    records = {record.idx: record for record in run.records}
    found = {}
    for path in _files(run, estimates.PATTERN):
        for one in estimates.read_estimates(path):
            if one.idx not in records:
                continue
            _check_same(path, one, records[one.idx])
            if one.idx in found:
                raise ValueError(
                    f"{path} has another estimate of image {one.idx}. Move one of the files away: "
                    "estimates of different settings do not go together."
                )
            found[one.idx] = one
    return found


def _check_same(path, one, record):
    """Raises if an attack or estimate is about something else than a certificate."""
    names = ["model", "data", "image_fingerprint"]
    if one.extra.get("classifier") == "smoothed":
        names.append("sigma")
    for name in names:
        if name in record.extra and record.extra[name] != one.extra[name]:
            raise ValueError(
                f"{path} is about another classifier or other images than the certificates next "
                f"to it: {name} of image {record.idx} is {one.extra[name]}, and "
                f"{record.extra[name]} there. Attack what was certified, or move the file away."
            )
    if one.label != record.label:
        raise ValueError(f"{path} has another label for image {record.idx} than its certificate.")


def sandwich_table(found):
    """Returns a Markdown table with a row for each `Sandwich`."""
    rows = []
    for one in found:
        distances = one.distances
        inside = one.contradictions()
        rows.append(
            [
                one.name,
                one.methods,
                str(len(one.pairs)),
                rounded_down(float(np.median(one.radii)), 3),
                _median_of_known(one.estimated),
                f"{np.median(distances):.3f}",
                str(int(np.isinf(distances).sum())),
                f"{tightness(one.radii, one.correct, distances):.3f}",
                f"{len(inside.images)} of {inside.trials}",
            ]
        )
    header = ["certificates", "attacks", "images", "median radius", f"median {CleverResult.column}"]
    header += ["median distance (upper bound)", "not found", "tightness", "inside a certificate"]
    return markdown_table(header, rows)


def _median_of_known(values):
    known = values[~np.isnan(values)]
    if not known.size:
        return UNKNOWN
    # Of some images only, the median would not be that of the images of the others.
    rest = "" if known.size == values.size else f" of {known.size}"
    return f"{np.median(known):.3f}{rest}"


def sandwich_rows(found):
    """Returns header and rows of a CSV file, one for each image."""
    header = ["run", "idx", "certified_radius", "clever_estimate", "attack_distance"]
    rows = [[*header, "changed_distance"]]
    for one in found:
        for (record, attacks), estimate in zip(one.pairs, one.estimated, strict=True):
            rows.append(
                [
                    one.name,
                    record.idx,
                    record.radius if record.correct else 0.0,
                    UNKNOWN if np.isnan(estimate) else estimate,
                    min(attack.distance for attack in attacks),
                    min(attack.changed_distance for attack in attacks),
                ]
            )
    return rows


def plot_sandwiches(found):
    """Draws certified accuracy, accuracy under attack, and the band between them."""
    figure = matplotlib.figure.Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    finite = [one.distances[np.isfinite(one.distances)] for one in found]
    end = 1.05 * max(0.1, *(max(part.max(initial=0), 0) for part in finite))
    grid = np.linspace(0, end, 501)
    for one in found:
        lower = [100 * certified_accuracy(one.radii, one.correct, at) for at in grid]
        upper = [100 * accuracy_under_attack(one.distances, at) for at in grid]
        (line,) = axes.plot(grid, lower, label=f"{one.name}: certified")
        axes.plot(grid, upper, "--", color=line.get_color(), label=f"{one.name}: under attack")
        axes.fill_between(grid, lower, upper, color=line.get_color(), alpha=0.15, lw=0)
        if not np.isnan(one.estimated).any():
            between = [100 * accuracy_under_attack(one.estimated, at) for at in grid]
            label = f"{one.name}: {CleverResult.column}"
            axes.plot(grid, between, ":", color=line.get_color(), label=label)
    axes.set_xlabel("L2 radius (pixels in [0, 1])")
    axes.set_ylabel("accuracy (%)")
    axes.set_xlim(0, end)
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure
