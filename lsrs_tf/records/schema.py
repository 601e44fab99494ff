"""The columns of a certification file, said once for writer, reader, check, merger and report.

The first six are those of Cohen et al. (2019) and of everyone since: index, label, prediction
(-1 abstains), radius, correct (0 or 1), time. Settings are what all rows of a file agree on;
results belong to the image. Files of other packages may hold further columns, in any order.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsrs_tf.records import notation

# What stands for a value that does not exist or is not known.
UNKNOWN = "-"
_UNKNOWN_TO_OTHERS = ("", UNKNOWN, "nan")

Role: TypeAlias = Literal["certificate", "setting", "result"]
CERTIFICATE: Role = "certificate"
SETTING: Role = "setting"
RESULT: Role = "result"

# What certificates of a method come from.
Evidence: TypeAlias = Literal["votes", "margins"]
VOTES: Evidence = "votes"
MARGINS: Evidence = "margins"


@dataclasses.dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: str, as in the first line of the file.
        role: `CERTIFICATE`, `SETTING` or `RESULT`.
        parse: function (text) -> value; it raises `ValueError` with what is allowed.
        write: function (value) -> text.
        default: the value where a file has no such column.
        later: bool, whether files of earlier versions do not have it. Such a file is resumed as it
            is, without the column.
        evidence: `VOTES` or `MARGINS`, for results that only methods with this evidence have.
    """

    name: str
    role: Role
    parse: Callable[[str], Any] = str
    write: Callable[[Any], str] = str
    default: object = None
    later: bool = False
    evidence: Evidence | None = None


_index = functools.partial(notation.whole_number, least=0)
# -1 is an abstention, no class, or an unknown label.
_class = functools.partial(notation.whole_number, least=-1)
_not_negative = functools.partial(notation.number, least=0.0)


def _exactly(value: Any) -> str:
    return repr(float(value))


def _fingerprint(text: str) -> str:
    # Of fixed length, so that a row that was cut off is noticed.
    if len(text) != 16 or not set(text) <= set("0123456789abcdef"):
        raise ValueError(f"must be 16 hexadecimal digits; received {notation.shown(text)}")
    return text


COLUMNS = (
    Column("idx", CERTIFICATE, _index),
    Column("label", CERTIFICATE, _class),
    Column("predict", CERTIFICATE, _class),
    Column("radius", CERTIFICATE, _not_negative, notation.written_radius),
    Column("correct", CERTIFICATE, notation.yes_or_no, lambda value: str(int(value))),
    Column("time", CERTIFICATE, notation.duration, notation.written_duration),
    Column("data", SETTING),
    Column("data_fingerprint", SETTING),
    Column("replaced", SETTING),
    Column("method", SETTING, default="fixed"),
    Column("target_radii", SETTING, notation.radii, notation.written_list),
    Column("tolerance", SETTING, notation.number),
    Column("sigma", SETTING, notation.number),
    Column("n0", SETTING, notation.whole_number),
    Column("n", SETTING, notation.whole_number),
    Column("alpha", SETTING, notation.number),
    Column("against", SETTING, default="half"),
    Column("seed", SETTING, notation.whole_number),
    Column("noise", SETTING),
    # In files of a head that was cast only.
    Column("head_dtype", SETTING),
    Column("shared_noise", SETTING, notation.yes_or_no, lambda value: str(int(value))),
    Column("radius_loss", SETTING, notation.number, default=0.0),
    Column("lipschitz", SETTING, notation.number),
    Column("multiply_adds_per_image", SETTING, _index, later=True),
    Column("multiply_adds_per_sample", SETTING, _index, later=True),
    Column("model", SETTING),
    Column("recertified_from_alpha", SETTING, notation.number),
    Column("recertified_from_against", SETTING),
    Column("clean", RESULT, _class),
    Column("p_lower", RESULT, _not_negative, _exactly, evidence=VOTES),
    Column("samples", RESULT, _index, evidence=VOTES),
    Column("selection_counts", RESULT, notation.votes, notation.written_list, evidence=VOTES),
    Column("counts", RESULT, notation.votes, notation.written_list, evidence=VOTES),
    Column("logits", RESULT, notation.numbers, notation.written_list, evidence=MARGINS),
    Column("rival", RESULT, _class, evidence=MARGINS),
    Column("margin", RESULT, _not_negative, _exactly, evidence=MARGINS),
    Column("pair_lipschitz", RESULT, _not_negative, _exactly, evidence=MARGINS),
    Column("image_fingerprint", RESULT, _fingerprint, later=True),
)

_BY_NAME = {column.name: column for column in COLUMNS}


def names(role: Role) -> tuple[str, ...]:
    """Returns the names of the columns of a role, a tuple of str in the order of a file."""
    return tuple(column.name for column in COLUMNS if column.role == role)


def results_of(method: str) -> tuple[str, ...]:
    """Returns the names of the results of a method, in the order of a file."""
    other = VOTES if method == "margin" else MARGINS
    return tuple(
        column.name for column in COLUMNS if column.role == RESULT and column.evidence != other
    )


LATER = frozenset(column.name for column in COLUMNS if column.later)
# Settings that follow from the model and the others, and that files of earlier versions lack.
COSTS = ("multiply_adds_per_image", "multiply_adds_per_sample")
VOTE_COLUMNS = ("selection_counts", "counts")
MARGIN_COLUMNS = tuple(column.name for column in COLUMNS if column.evidence == MARGINS)


def parsed(name: str, text: str) -> Any:
    """Returns the value of a text in a column, or None if it says that the value is unknown.

    Args:
        name: str, the column; texts of columns that are not in the schema are returned as they are.
        text: str.

    Raises:
        ValueError: if the text is not allowed in this column; the message names the column.
    """
    column = _BY_NAME.get(name, Column(name, RESULT))
    if column.role != CERTIFICATE and text.casefold() in _UNKNOWN_TO_OTHERS:
        return None
    try:
        return column.parse(text)
    except ValueError as error:
        raise ValueError(f"column {name} {error}") from error


def written(name: str, value: object) -> str:
    """Returns the text of a value in a column; texts, which are written already, and None too."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value
    return _BY_NAME.get(name, Column(name, RESULT)).write(value)


def default(name: str) -> Any:
    """Returns the value of a column where a file does not have it, mostly None."""
    return _BY_NAME[name].default if name in _BY_NAME else None


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
            name: str, a column of `COLUMNS`.

        Raises:
            ValueError: if the text in this column is not allowed there.
        """
        if name not in self.extra:
            return default(name)
        return parsed(name, self.extra[name])

    @property
    def settings(self) -> dict[str, str]:
        """What the record was made with, a dict of str to str."""
        return {name: self.extra[name] for name in names(SETTING) if name in self.extra}

    @property
    def has_votes(self) -> bool:
        """Bool, whether the record holds votes, as those of this package do."""
        return set(VOTE_COLUMNS) <= set(self.extra)

    @property
    def has_margins(self) -> bool:
        """Bool, whether the record holds logits, as certificates by margins of this package do."""
        return set(MARGIN_COLUMNS) <= set(self.extra)

    @property
    def votes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """(selection_counts, counts), int64 arrays [classes], or None if it holds no votes."""
        if not self.has_votes:
            return None
        selection_counts, counts = (self.value(name) for name in VOTE_COLUMNS)
        return None if selection_counts is None or counts is None else (selection_counts, counts)


def is_correct(label: int, predict: int) -> bool:
    """Returns whether a prediction is the label; an abstention never is, whatever the label."""
    return predict == label and predict != -1
