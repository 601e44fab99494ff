"""One certification file, read and checked for tables."""

import dataclasses
import fractions
import pathlib

import numpy as np

from lsrs_tf.records import reading
from lsrs_tf.records.consistency import check_record

UNKNOWN = "-"
# What all rows of a file must agree on, where they tell it.
_SETTINGS = (
    "data",
    "data_fingerprint",
    "replaced",
    "method",
    "target_radii",
    "tolerance",
    "sigma",
    "n0",
    "n",
    "alpha",
    "against",
    "seed",
    "noise",
    "shared_noise",
    "radius_loss",
    "lipschitz",
    "model",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One certification file, ready for tables.

    Attributes:
        path: the file.
        records: list of `reading.Record`, at least one.
    """

    path: pathlib.Path
    records: list

    @property
    def radii(self):
        """Float array of the certified radii."""
        return np.array([record.radius for record in self.records])

    @property
    def correct(self):
        """Bool array, whether the certified class is the true one."""
        return np.array([record.correct for record in self.records])

    @property
    def clean_accuracy(self):
        """Fraction of images whose class without noise is the true one, or None if unknown."""
        clean = [record.extra.get("clean", UNKNOWN) for record in self.records]
        if UNKNOWN in clean:
            return None
        # -1 stands for no class, and for an unknown label.
        correct = sum(
            int(label) == record.label != -1
            for label, record in zip(clean, self.records, strict=True)
        )
        return fractions.Fraction(correct, len(clean))

    @property
    def samples(self):
        """Int array of the noisy samples of each image, or None if the file does not tell."""
        if not all("samples" in record.extra for record in self.records):
            return None
        return np.array([int(record.extra["samples"]) for record in self.records])

    @property
    def class_probabilities(self):
        """Float array, the share of the selected class in the votes; None if there are no votes."""
        votes = [reading.votes_of(record) for record in self.records]
        if any(entry is None for entry in votes):
            return None
        return np.array(
            [counts[selection.argmax()] / max(1, counts.sum()) for selection, counts in votes]
        )

    @property
    def replaced(self):
        """Fraction of layers that is orthogonal, such as '9/18', or '-' if unknown."""
        return self.records[0].extra.get("replaced", UNKNOWN)

    @property
    def defense(self):
        """'LS-RS', 'IS-RS' (nothing replaced) or '-'."""
        if self.replaced == UNKNOWN:
            return UNKNOWN
        return "IS-RS" if self.replaced.startswith("0/") else "LS-RS"

    @property
    def sigma(self):
        """Standard deviation of the noise, as text."""
        return self.records[0].extra.get("sigma", UNKNOWN)

    @property
    def certificates(self):
        """How the certificates were made, as text, or '-' if unknown."""
        extra = self.records[0].extra
        if not {"n", "alpha"} <= set(extra):
            return UNKNOWN
        parts = [f"n {extra['n']}", f"alpha {extra['alpha']}"]
        for name, text in (("target_radii", "at radii {}"), ("tolerance", "within {}")):
            if extra.get(name, UNKNOWN) != UNKNOWN:
                parts.append(text.format(extra[name]))
        if extra.get("noise") == "exact":
            parts.append("exact noise")
        if extra.get("against") == "runner_up":
            parts.append("against the runner-up")
        return ", ".join(parts)

    @property
    def name(self):
        """A name for a legend."""
        if self.defense == UNKNOWN:
            return self.path.stem
        return f"{self.defense} {self.replaced}, sigma {self.sigma}"


def read_run(path):
    """Reads a certification file.

    Args:
        path: the file, or the folder of a training run that holds `certified.tsv`.

    Returns:
        A `Run`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds no image.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "certified.tsv"
    found = reading.read(path)
    if not found:
        raise ValueError(f"{path} holds no certified image yet.")
    for record in found:
        check_record(record, path)
    for name in _SETTINGS:
        values = sorted({record.extra[name] for record in found if name in record.extra})
        if len(values) > 1:
            raise ValueError(
                f"{path} mixes rows of different settings, so that no table is true of it: {name} "
                f"is {' and '.join(values)}. Report them apart."
            )
    return Run(path, found)
