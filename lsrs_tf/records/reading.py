"""The field's tab-separated certification file, written row by row and resumable.

The first six columns are those of Cohen et al. (2019) and of everybody since: index, label,
prediction (-1 abstains), radius, correct (0 or 1), time. Further columns hold the counts and all
settings, so that every row explains itself.
"""

import csv
import dataclasses
import datetime
import decimal
import math
import pathlib
import re

import numpy as np

_DECIMALS = decimal.Decimal("0.000001")


@dataclasses.dataclass(frozen=True)
class Record:
    """One certified image, as read from a file.

    Attributes:
        idx: int, the place of the image in its test set.
        label: int, the true class.
        predict: int, the certified class, -1 for abstention.
        radius: float, certified L2 radius, 0.0 for abstention.
        correct: bool, whether the certified class is the true one.
        seconds: float, time taken, or NaN where the file does not tell.
        extra: dict of str to str, the further columns.
    """

    idx: int
    label: int
    predict: int
    radius: float
    correct: bool
    seconds: float
    extra: dict


COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
# Further columns that belong to the image; all others are settings.
RESULTS = ("clean", "p_lower", "samples", "selection_counts", "counts")


def settings_of(record):
    """Returns the settings that a record was made with, a dict of str to str."""
    return {name: value for name, value in record.extra.items() if name not in RESULTS}


def votes_of(record):
    """Returns the votes of a record, or None if it holds none.

    Returns:
        (selection_counts, counts), int64 arrays [classes].
    """
    names = ("selection_counts", "counts")
    if not set(names) <= set(record.extra):
        return None
    return tuple(np.array(record.extra[name].split(","), np.int64) for name in names)


def rounded_down(value):
    """Returns a non-negative float as a decimal string of six places that is not above it.

    A float stands for the shortest decimal that rounds to it, 0.3 for instance; radii have margins
    that are much larger than the difference.
    """
    return str(
        decimal.Decimal(repr(float(value))).quantize(_DECIMALS, rounding=decimal.ROUND_FLOOR)
    )


def format_row(idx, label, predict, radius, seconds, extra):
    """Returns one line of the file, with its line break.

    Args:
        idx: int, the place of the image in its test set.
        label: int, the true class.
        predict: int, the certified class, -1 for abstention.
        radius: float, written rounded down.
        seconds: float.
        extra: list of values of the further columns.
    """
    time = str(datetime.timedelta(seconds=seconds))
    correct = int(_is_correct(label, predict))
    values = [idx, label, predict, rounded_down(radius), correct, time, *extra]
    return "\t".join(str(value) for value in values) + "\n"


def _is_correct(label, predict):
    # An abstention is never correct, whatever stands for an unknown label.
    return predict == label and predict != -1


def read(path):
    """Reads a certification file, of this package or of another one.

    Args:
        path: the file. A last line without a line break is what a kill left of a row, and is
            skipped, unless the file has the first six columns only and the line is whole.

    Returns:
        List of `Record`, in the order of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a certification file, a line of it is damaged, or an image comes
            twice.
    """
    try:
        with pathlib.Path(path).open(newline="", encoding="utf-8") as file:
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no certification file at {path}. Write one with "
            "`python -m experiments.certify`."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file: {error}.") from error
    if lines and not lines[-1].endswith("\n") and not _is_whole(lines):
        lines.pop()
    rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or tuple(rows[0][:6]) != COLUMNS:
        raise ValueError(
            f"{path} is not a certification file: its first line must begin with "
            f"{' '.join(COLUMNS)}, separated by tabs. Received: {lines[:1]}"
        )
    found = [_record(row, rows[0], path, number) for number, row in enumerate(rows[1:], start=2)]
    seen = set()
    for record in found:
        if record.idx in seen:
            raise ValueError(
                f"{path} has more than one row for image {record.idx}, which would count it more "
                "than once. Remove all but one."
            )
        seen.add(record.idx)
    return found


def _is_whole(lines):
    # The time ends a row of six columns; cut short it would not be a time any more.
    return lines[0].rstrip("\n").split("\t") == list(COLUMNS) and re.fullmatch(
        r"(\S+\t){5}(\d+ days?, )?\d+:\d\d:\d\d(\.\d+)?", lines[-1]
    )


def _record(row, header, path, number):
    try:
        if len(row) != len(header):
            raise ValueError(f"{len(row)} columns instead of {len(header)}")
        idx, label, predict = (int(entry) for entry in row[:3])
        radius = float(row[3])
        if not 0 <= radius < math.inf:
            raise ValueError(f"radius {row[3]}")
        if row[4] not in ("0", "1") or (row[4] == "1") != _is_correct(label, predict):
            raise ValueError(f"correct is {row[4]}, but the label is {label}, predicted {predict}")
        if predict == -1 and radius > 0:
            raise ValueError(f"an abstention with radius {radius}")
        return Record(
            idx=idx,
            label=label,
            predict=predict,
            radius=radius,
            correct=row[4] == "1",
            seconds=_seconds(row[5]),
            extra=dict(zip(header[6:], row[6:], strict=True)),
        )
    except ValueError as error:
        raise ValueError(
            f"Line {number} of {path} is damaged: {error}. Remove the line; the image will be "
            "certified again when certification resumes."
        ) from error


def _seconds(text):
    match = re.fullmatch(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d(?:\.\d+)?)", text)
    if match is None:
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"time {text!r}") from None
    days, hours, minutes, seconds = match.groups()
    return ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)
