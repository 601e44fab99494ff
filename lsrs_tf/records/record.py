import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsrs_tf.records import schema


@dataclasses.dataclass(frozen=True)
class Record:
    """One certified image, as read from a file.

    Attributes:
        idx: int, the place of the image in its test set, at least 0.
        label: int, the true class, -1 if unknown.
        predict: int, the certified class, -1 for abstention.
        radius: float, certified L2 radius, 0.0 for abstention.
        correct: bool, whether the certified class is the true one.
        seconds: float, time taken, or NaN where the file does not tell.
        extra: dict of str to str, the further columns as they are written.
    """

    idx: int
    label: int
    predict: int
    radius: float
    correct: bool
    seconds: float
    extra: dict[str, str]

    def value(self, name: str) -> Any:
        """Returns the value of a further column, or its default where the file does not have it.

        Args:
            name: str, a column of `schema.COLUMNS`.

        Raises:
            ValueError: if the text in this column is not allowed there.
        """
        if name not in self.extra:
            return schema.default(name)
        return schema.parsed(name, self.extra[name])

    @property
    def settings(self) -> dict[str, str]:
        """What the record was made with, a dict of str to str."""
        return {
            name: self.extra[name] for name in schema.names(schema.SETTING) if name in self.extra
        }

    @property
    def has_votes(self) -> bool:
        """Bool, whether the record holds votes, as those of this package do."""
        return set(schema.VOTES) <= set(self.extra)

    @property
    def votes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """(selection_counts, counts), int64 arrays [classes], or None if it holds no votes."""
        if not self.has_votes:
            return None
        selection_counts, counts = (self.value(name) for name in schema.VOTES)
        return None if selection_counts is None or counts is None else (selection_counts, counts)


def is_correct(label: int, predict: int) -> bool:
    """Returns whether a prediction is the label; an abstention never is, whatever the label."""
    return predict == label and predict != -1
