"""Certificates, attacks and estimates of the same images."""

import dataclasses
import functools

import numpy as np

from lsrs_tf.evaluation.sandwich import contradictions
from lsrs_tf.records import estimates
from lsrs_tf.records.attacks import PATTERN, AttackRecord, read_attacks
from lsrs_tf.records.summary import UNKNOWN, Run


@dataclasses.dataclass(frozen=True)
class Sandwich:
    """The images of a run that were certified and attacked.

    Attributes:
        name: str.
        run: `Run`.
        attacks: dict of index to list of `AttackRecord`, those of all files, also of images that
            were not certified.
        estimates: dict of index to `EstimateRecord`, likewise.
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
    def unpaired(self):
        """Dict of what was done with images that are not among the pairs to a list of them."""
        certified = {record.idx for record in self.run.records}
        left_out = {
            "certified and not attacked": certified - {*self.attacks},
            "attacked and not certified": {*self.attacks} - certified,
            "estimated and not both": {*self.estimates} - (certified & {*self.attacks}),
        }
        return {what: sorted(images) for what, images in left_out.items() if images}

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

    @property
    def other_noise(self):
        """Text that says so if attacks were on another noise than was certified, empty otherwise.

        The noise of `logits` has the law of `float32`: they are noises of one classifier, up to
        roundings that neither of their certificates includes. That of `exact` is on a grid, and its
        certificates include all roundings.
        """
        certified = self.run.setting("noise")
        attacked = {one.extra.get("noise", UNKNOWN) for _, found in self.pairs for one in found}
        # Certificates by margins, and files of others, have none.
        other = [
            f"noise={noise}"
            for noise in sorted(attacked - {UNKNOWN})
            if (noise == "exact") != (certified == "exact")
        ]
        if certified == UNKNOWN or not other:
            return ""
        return (
            f"The certificates are about noise={certified}, and attacks about {', '.join(other)}: "
            "classifiers that differ by the rounding of latents and noise, so that an attack just "
            "inside a certificate may contradict nothing. `python -m experiments.validate` attacks "
            "with the noise that it certifies."
        )

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

    A sandwich has no pairs where no image was certified and attacked.

    Args:
        runs: dict of name to `Run`.

    Raises:
        ValueError: if attacks are on another model, another sigma, or other images.
    """
    found = [Sandwich(name, run, _attacks(run), _estimates(run)) for name, run in runs.items()]
    return [one for one in found if one.attacks]


def left_out(runs):
    """Returns a line for each file of attacks or estimates that is not about what a run certifies.

    Args:
        runs: list of `Run`.
    """
    lines = []
    for run in runs:
        for path in _files(run, PATTERN):
            others = {_attacked(one) for one in read_attacks(path)} - {_certified(run)}
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
    return _named(
        "base" if run.setting("method") == "margin" else "smoothed", run.setting("head_dtype")
    )


def _attacked(one):
    """Returns which classifier of a model an `AttackRecord` is about, as text."""
    return _named(one.extra["classifier"], one.extra.get("head_dtype", UNKNOWN))


def _named(classifier, head_dtype):
    """Returns the name of a classifier: with a head that was cast it is another one.

    It may well answer otherwise inside a certificate of the head in its own dtype, or vice versa.
    """
    return classifier if head_dtype == UNKNOWN else f"{classifier}, {head_dtype}"


def _attacks(run):
    classifier = _certified(run)
    records = {record.idx: record for record in run.records}
    attacks = {}
    for path in _files(run, PATTERN):
        for one in read_attacks(path):
            # Attacks on the other classifier of the model say nothing about these certificates.
            if _attacked(one) != classifier:
                continue
            if one.idx in records:
                _check_same(path, one, records[one.idx])
            # Rows of shards may stand in the merged file as well: they are one attack.
            if one not in attacks.setdefault(one.idx, []):
                attacks[one.idx].append(one)
    return attacks


def _estimates(run):
    """Returns dict of index to the `EstimateRecord` of an image; shards have different images."""
    if _certified(run) != "base":
        return {}
    records = {record.idx: record for record in run.records}
    found = {}
    for path in _files(run, estimates.PATTERN):
        for one in estimates.read_estimates(path):
            if one.idx in records:
                _check_same(path, one, records[one.idx])
            # A row of a shard may stand in the merged file as well.
            if found.get(one.idx, one) != one:
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
