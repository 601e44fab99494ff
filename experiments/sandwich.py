"""What the report says of certificates and attacks on the same images."""

import dataclasses
import functools

import matplotlib.figure
import numpy as np

from lsrs_tf.evaluation.metrics import certified_accuracy
from lsrs_tf.evaluation.sandwich import accuracy_under_attack, contradictions, tightness
from lsrs_tf.evaluation.tables import markdown_table, rounded_down
from lsrs_tf.records.attacks import PATTERN, AttackRecord, read_attacks
from lsrs_tf.records.summary import Run


@dataclasses.dataclass(frozen=True)
class Sandwich:
    """The images of a run that were certified and attacked.

    Attributes:
        name: str.
        run: `Run`.
        attacks: dict of index to list of `AttackRecord`, those of all files.
    """

    name: str
    run: Run
    attacks: dict[int, list[AttackRecord]]

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
    found = [Sandwich(name, run, _attacks(run)) for name, run in runs.items()]
    return [one for one in found if one.pairs]


def left_out(runs):
    """Returns a line for each file of attacks on the classifier that a run does not certify.

    Args:
        runs: list of `Run`.
    """
    lines = []
    for run in runs:
        for path in sorted(run.path.glob(PATTERN)) if run.path.is_dir() else ():
            others = {one.extra["classifier"] for one in read_attacks(path)} - {_certified(run)}
            if others:
                lines.append(
                    f"Left out: {path} attacks the {others.pop()} classifier, and the certificates "
                    f"are about the {_certified(run)} one.\n"
                )
    return lines


def _certified(run):
    return "base" if run.setting("method") == "margin" else "smoothed"


def _attacks(run):
    if not run.path.is_dir():
        return {}
    classifier = _certified(run)
    records = {record.idx: record for record in run.records}
    attacks = {}
    for path in sorted(run.path.glob(PATTERN)):
        for one in read_attacks(path):
            # Attacks on the other classifier of the model say nothing about these certificates.
            if one.extra["classifier"] != classifier or one.idx not in records:
                continue
            _check_same(path, one, records[one.idx])
            attacks.setdefault(one.idx, []).append(one)
    return attacks


def _check_same(path, attack, record):
    names = ["model", "data", "image_fingerprint"]
    if attack.extra["classifier"] == "smoothed":
        names.append("sigma")
    for name in names:
        if name in record.extra and record.extra[name] != attack.extra[name]:
            raise ValueError(
                f"{path} is about another classifier or other images than the certificates next "
                f"to it: {name} of image {record.idx} is {attack.extra[name]}, and "
                f"{record.extra[name]} there. Attack what was certified, or move the file away."
            )
    if attack.label != record.label:
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
                f"{np.median(distances):.3f}",
                str(int(np.isinf(distances).sum())),
                f"{tightness(one.radii, one.correct, distances):.3f}",
                f"{len(inside.images)} of {inside.trials}",
            ]
        )
    header = ["certificates", "attacks", "images", "median radius", "median distance (upper bound)"]
    header += ["not found", "tightness", "inside a certificate"]
    return markdown_table(header, rows)


def sandwich_rows(found):
    """Returns header and rows of a CSV file, one for each image."""
    rows = [["run", "idx", "certified_radius", "attack_distance", "changed_distance"]]
    for one in found:
        for record, attacks in one.pairs:
            rows.append(
                [
                    one.name,
                    record.idx,
                    record.radius if record.correct else 0.0,
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
    axes.set_xlabel("L2 radius (pixels in [0, 1])")
    axes.set_ylabel("accuracy (%)")
    axes.set_xlim(0, end)
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure
