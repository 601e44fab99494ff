"""One certification file, ready for tables."""

import dataclasses
import fractions
import os
import pathlib

import numpy as np
from numpy.typing import NDArray

from lsrs_tf.records import schema
from lsrs_tf.records.reading import read_table
from lsrs_tf.records.schema import Record

UNKNOWN = schema.UNKNOWN
VARIES = "varies"
_SUFFIXES = (".gz", ".tsv", ".txt")


@dataclasses.dataclass(frozen=True)
class Run:
    """One certification file, ready for tables.

    Attributes:
        path: `pathlib.Path`, the file, or the folder of a training run, as it was given.
        records: list of `Record`, at least one.
    """

    path: pathlib.Path
    records: list[Record]

    @property
    def radii(self) -> NDArray[np.float64]:
        """Float array of the certified radii."""
        return np.array([record.radius for record in self.records])

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Bool array, whether the certified class is the true one."""
        return np.array([record.correct for record in self.records])

    @property
    def seconds(self) -> float | None:
        """Mean time of an image as a float, or None if the file does not tell that of each."""
        mean = float(np.mean([record.seconds for record in self.records]))
        return None if np.isnan(mean) else mean

    @property
    def clean_accuracy(self) -> fractions.Fraction | None:
        """Fraction of images whose class without noise is the true one, or None if unknown."""
        clean = [record.value("clean") for record in self.records]
        if None in clean:
            return None
        # -1 stands for no class, and for an unknown label.
        correct = sum(
            label == record.label != -1 for label, record in zip(clean, self.records, strict=True)
        )
        return fractions.Fraction(correct, len(clean))

    @property
    def samples(self) -> NDArray[np.int64] | None:
        """Int array of the noisy samples of each image, or None if the file does not tell."""
        samples = [record.value("samples") for record in self.records]
        return None if None in samples else np.array(samples)

    @property
    def multiply_adds_per_sample(self) -> int | None:
        """Multiply-adds of the head for a noisy sample, or None if unknown, or for margins."""
        return self._cost("multiply_adds_per_sample")

    @property
    def multiply_adds(self) -> float | None:
        """Mean multiply-adds of a certificate, or None if unknown.

        The encoder once, and the head for each noisy sample; for margins one pass of the network.
        """
        once = self._cost("multiply_adds_per_image")
        if once is None or self.setting("method") == "margin":
            return once
        of_sample, samples = self.multiply_adds_per_sample, self.samples
        if of_sample is None or samples is None:
            return None
        return once + of_sample * float(samples.mean())

    def _cost(self, name: str) -> int | None:
        costs = {record.value(name) for record in self.records}
        return costs.pop() if len(costs) == 1 else None

    @property
    def class_probabilities(self) -> NDArray[np.float64] | None:
        """Float array, the share of the selected class in the samples; None if there are no votes.

        Samples without a vote count against the class, where the file tells how many there were.
        """
        shares = []
        for record in self.records:
            votes = record.votes
            if votes is None or len(votes[0]) != len(votes[1]):
                return None
            selection, counts = votes
            samples = max(1, _estimation_samples(record), counts.sum())
            shares.append(counts[selection.argmax()] / samples)
        return np.array(shares)

    def setting(self, name: str) -> str:
        """Returns a setting as text: 'varies' if rows differ in it, '-' if it is unknown."""
        texts = {record.extra.get(name, UNKNOWN) for record in self.records}
        return texts.pop() if len(texts) == 1 else VARIES

    @property
    def replaced(self) -> str:
        """Fraction of layers that is orthogonal, such as '9/18', 'varies', or '-' if unknown."""
        return self.setting("replaced")

    @property
    def defense(self) -> str:
        """'LS-RS', 'IS-RS' (nothing replaced), 'margin' (base classifier, no noise) or '-'."""
        if self.setting("method") == "margin":
            return "margin"
        if self.replaced in (UNKNOWN, VARIES):
            return UNKNOWN
        return "IS-RS" if self.replaced.startswith("0/") else "LS-RS"

    @property
    def classifier(self) -> str:
        """'smoothed' or 'base', which classifier the certificates are about, or '-' if unknown."""
        if self.setting("method") == "margin":
            return "base"
        return UNKNOWN if self.setting("sigma") == UNKNOWN else "smoothed"

    @property
    def sigma(self) -> str:
        """Standard deviation of the noise, as text: 'varies' if it does, '-' if unknown."""
        return self.setting("sigma")

    @property
    def certificates(self) -> str:
        """How the certificates were made, as text, or '-' if unknown."""
        if self.setting("method") == "margin":
            return "certain, no samples"
        n, alpha = self.setting("n"), self.setting("alpha")
        if UNKNOWN in (n, alpha):
            return UNKNOWN
        parts = [f"n {n}", f"alpha {alpha}"]
        for name, text in (("target_radii", "at radii {}"), ("tolerance", "within {}")):
            if self.setting(name) != UNKNOWN:
                parts.append(text.format(self.setting(name)))
        if self.setting("noise") == "exact":
            parts.append("exact noise")
        if self.setting("head_dtype") != UNKNOWN:
            parts.append(f"{self.setting('head_dtype')} head")
        if self.setting("against") == "runner_up":
            parts.append("against the runner-up")
        return ", ".join(parts)

    @property
    def name(self) -> str:
        """A name for a legend."""
        if self.defense == UNKNOWN:
            return _plain_name(self.path)
        if self.setting("method") == "margin":
            return f"margin {self.replaced}, base classifier"
        return f"{self.defense} {self.replaced}, sigma {self.sigma}"


def _estimation_samples(record: Record) -> int:
    """Returns the samples of a record that the votes come from, 0 where the file does not tell."""
    if record.value("method") == "fixed":
        return record.value("n") or 0
    told = None not in (record.value("samples"), record.value("n0"))
    # With a tolerance pilot samples are among them.
    if told and record.value("tolerance") is None:
        return record.value("samples") - record.value("n0")
    return 0


def read_run(path: str | os.PathLike[str]) -> Run:
    """Reads a certification file.

    Args:
        path: the file, or the folder of a training run that holds `certified.tsv`.

    Returns:
        A `Run`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or holds no image.
    """
    table = read_table(path)
    if not table.records:
        raise ValueError(f"{table.path} holds no certified image yet.")
    return Run(pathlib.Path(path), table.records)


def _plain_name(path: pathlib.Path) -> str:
    """Returns the name of a file without '.tsv' and the like; other dots belong to the name."""
    name = path.name if path.name not in ("", "..") else path.resolve().name
    for suffix in _SUFFIXES:
        if name != suffix:
            name = name.removesuffix(suffix)
    return name
