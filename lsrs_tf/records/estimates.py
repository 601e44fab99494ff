"""Files of CLEVER scores: estimates of distances, which prove nothing, one row for each image."""

import dataclasses
import os
from typing import Any

from lsrs_tf.records import notation
from lsrs_tf.records.layout import ImageRecord, Layout, LayoutJournal

# The file in the folder of a training run, and those of shards and of other settings.
IN_A_FOLDER = "estimated.tsv"
PATTERN = "estimated*.tsv"

_PARSERS = {
    "idx": lambda text: notation.whole_number(text, least=0),
    "label": lambda text: notation.whole_number(text, least=0),
    "clean": lambda text: notation.whole_number(text, least=0),
    "estimate": lambda text: notation.number(text, least=0.0),
    "time": notation.duration,
}
SETTINGS = (
    "data",
    "data_fingerprint",
    "estimate_radius",
    "maxima",
    "gradients_per_maximum",
    "seed",
    "model",
)
RESULTS = ("fitted", "image_fingerprint")


@dataclasses.dataclass(frozen=True)
class EstimateRecord(ImageRecord):
    """The estimate of one image, as read from a file.

    Attributes:
        idx: int, the place of the image in its test set.
        label: int, the true class.
        clean: int, the class that the base classifier gives the image.
        estimate: float, CLEVER score: an L2 distance, at most the radius that was looked at.
        seconds: float.
        extra: dict of str to str, the further columns as they are written.
    """

    idx: int
    label: int
    clean: int
    estimate: float
    seconds: float
    extra: dict[str, str]

    @property
    def distance(self) -> float:
        """0.0 where the answer is wrong without any change, else the estimate."""
        return self.estimate if self.clean == self.label else 0.0


def _record(values: dict[str, Any], texts: dict[str, str]) -> EstimateRecord:
    return EstimateRecord(seconds=values.pop("time"), **values, extra=texts)


LAYOUT = Layout(
    kind="estimates",
    command="python -m experiments.estimate",
    parsers=_PARSERS,
    settings=SETTINGS,
    results=RESULTS,
    record=_record,
)


class EstimateJournal(LayoutJournal):
    """The file of estimates that is open for appending, see `LayoutJournal`."""

    layout = LAYOUT

    def add(self, record: EstimateRecord) -> None:
        """Writes the row of one image; `extra` are its results."""
        self._add(
            record,
            {
                "estimate": repr(float(record.estimate)),
            },
        )


def read_estimates(path: str | os.PathLike[str]) -> list[EstimateRecord]:
    """Returns the list of `EstimateRecord` of a file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a file of estimates, or damaged, or mixes settings.
    """
    return LAYOUT.read(path)
