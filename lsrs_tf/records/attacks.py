"""Files of attacks: a row for each image, in a journal like that of certificates.

Their columns are not those of certificates: a distance is an upper bound of what a radius bounds
from below, and is never read as one.
"""

import dataclasses
import math
import os
from typing import Any

from lsrs_tf.records import notation
from lsrs_tf.records.layout import ImageRecord, Layout, LayoutJournal

# The file in the folder of a training run, and those of shards and of other attacks.
IN_A_FOLDER = "attacked.tsv"
PATTERN = "attacked*.tsv"


def _distance(text: str) -> float:
    return math.inf if text == "inf" else notation.number(text, least=0.0)


_PARSERS = {
    "idx": lambda text: notation.whole_number(text, least=0),
    "label": lambda text: notation.whole_number(text, least=0),
    "found": lambda text: notation.whole_number(text, least=-1),
    "distance": _distance,
    "changed_distance": _distance,
    "clean": lambda text: notation.whole_number(text, least=-1),
    "time": notation.duration,
}
SETTINGS = (
    "data",
    "data_fingerprint",
    "attack",
    "classifier",
    "steps",
    "restarts",
    "attack_radius",
    "sigma",
    "noise",
    "draws",
    "n",
    "alpha",
    "seed",
    "model",
)
# Files without a cast are those of versions that knew none.
OPTIONAL = ("head_dtype",)
RESULTS = ("note", "image_fingerprint")


@dataclasses.dataclass(frozen=True)
class AttackRecord(ImageRecord):
    """One attacked image, as read from a file.

    Attributes:
        idx: int, the place of the image in its test set.
        label: int, the true class.
        found: int, the answer for the image that was found, -1 for abstention; the clean answer
            where nothing was.
        distance: float, infinite where nothing was found, 0.0 where the answer was wrong already.
        changed_distance: float, the distance at which the answer is another class.
        clean: int, the answer for the original, -1 for abstention.
        seconds: float.
        extra: dict of str to str, the further columns as they are written.
    """

    idx: int
    label: int
    found: int
    distance: float
    changed_distance: float
    clean: int
    seconds: float
    extra: dict[str, str]


def _record(values: dict[str, Any], texts: dict[str, str]) -> AttackRecord:
    record = AttackRecord(seconds=values.pop("time"), **values, extra=texts)
    if record.changed_distance < record.distance:
        raise ValueError("changed_distance is below distance")
    if math.isinf(record.distance) != (record.found == record.clean and record.distance > 0):
        raise ValueError(f"class {record.found} was found at distance {record.distance}")
    return record


LAYOUT = Layout(
    kind="attacks",
    command="python -m experiments.attack",
    parsers=_PARSERS,
    settings=SETTINGS,
    results=RESULTS,
    record=_record,
    optional=OPTIONAL,
)


class AttackJournal(LayoutJournal):
    """The file of an attack that is open for appending, see `LayoutJournal`."""

    layout = LAYOUT

    def add(self, record: AttackRecord) -> None:
        """Writes the row of one image; `extra` are its results."""
        self._add(
            record,
            {
                "found": record.found,
                "distance": repr(float(record.distance)),
                "changed_distance": repr(float(record.changed_distance)),
            },
        )


def read_attacks(path: str | os.PathLike[str]) -> list[AttackRecord]:
    """Returns the list of `AttackRecord` of a file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a file of attacks, or damaged, or mixes settings.
    """
    return LAYOUT.read(path)
