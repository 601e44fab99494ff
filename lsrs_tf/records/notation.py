"""How single values are written in certification files, and read from anyone's.

Readers take a text and return a value, or raise `ValueError` with what was received and what is
allowed. Digits are ASCII digits; what Python's own `int` and `float` accept in addition to that
('1_000', 'infinity') is refused.
"""

import datetime
import decimal
import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_DECIMALS = decimal.Decimal("0.000001")
_WHOLE = re.compile(r"([+-]?\d{1,19})(\.0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_DURATION = re.compile(r"(?:(\d{1,9}) days?,? )?(\d{1,9}):([0-5]\d):([0-5]\d(?:\.\d*)?)", re.ASCII)
_YES, _NO = ("1", "true"), ("0", "false")
# The most votes of one class; sums of many classes stay far below the largest int64 number.
_MOST_VOTES = 10**12
_SHOWN = 40


def shown(text: str) -> str:
    """Returns a text for a message, shortened where it is long."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def examples(indices: Sequence[int]) -> str:
    """Returns the first images of a list for a message, with a space before; nothing for none."""
    if not indices:
        return ""
    return f" (such as {', '.join(map(str, indices[:3]))})"


def whole_number(text: str, least: int = -(2**63)) -> int:
    """Returns a whole number, '7' or '7.0', as an int.

    Args:
        text: str.
        least: int, the smallest number that is allowed.
    """
    match = _WHOLE.fullmatch(text)
    if match is None or not least <= int(match[1]) < 2**63:
        above = "" if least == -(2**63) else f" of at least {least}"
        raise ValueError(f"must be a whole number{above}, of 64 bits; received {shown(text)}")
    return int(match[1])


def number(text: str, least: float = -math.inf) -> float:
    """Returns a finite number as a float.

    Args:
        text: str.
        least: float, the smallest number that is allowed.
    """
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not (math.isfinite(value) and value >= least):
        above = "" if least == -math.inf else f" of at least {least:g}"
        raise ValueError(f"must be a finite number{above}; received {shown(text)}")
    return value


def yes_or_no(text: str) -> bool:
    """Returns a bool, written as 1 or 0, 1.0 or 0.0, True or False."""
    plain = text.casefold().removesuffix(".0")
    if plain not in (*_YES, *_NO):
        raise ValueError(f"must be 1 or 0 (or True or False); received {shown(text)}")
    return plain in _YES


def duration(text: str) -> float:
    """Returns seconds as a float, from '0:00:01.5', '1 day, 0:00:01' or '12.5'; NaN for ''."""
    if text.casefold() in ("", "-", "nan"):
        return math.nan
    match = _DURATION.fullmatch(text)
    if match is None:
        try:
            return number(text, least=0.0)
        except ValueError:
            raise ValueError(
                "must be a number of seconds of at least 0, or days, hours, minutes and seconds "
                f"like '0:00:01.5' or '1 day, 0:00:01'; received {shown(text)}"
            ) from None
    days, hours, minutes, seconds = match.groups()
    return ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)


def votes(text: str) -> NDArray[np.int64]:
    """Returns votes like '3,97' as an int64 array [classes]."""
    counts = [whole_number(part.strip(), least=0) for part in text.split(",")]
    if max(counts) > _MOST_VOTES:
        raise ValueError(f"must be votes of at most {_MOST_VOTES} for a class")
    return np.array(counts, np.int64)


def numbers(text: str) -> NDArray[np.float64]:
    """Returns numbers like '0.5,-3.25' as a float64 array; 'nan', 'inf' and '-inf' are some."""
    parts = [part.strip() for part in text.split(",")]
    values = [float(part) if part in ("nan", "inf", "-inf") else number(part) for part in parts]
    return np.array(values, np.float64)


def radii(text: str) -> tuple[float, ...]:
    """Returns target radii like '0.25,0.5' as an ascending tuple of floats above 0."""
    values = tuple(number(part.strip(), least=0.0) for part in text.split(","))
    if list(values) != sorted(set(values)) or values[0] == 0:
        raise ValueError(f"must be ascending radii above 0; received {shown(text)}")
    return values


def written_radius(value: float) -> str:
    """Returns a non-negative float as a decimal text of six places that is not above it.

    A float stands for the shortest decimal that rounds to it, 0.3 for instance; radii have margins
    that are much larger than the difference.
    """
    return str(
        decimal.Decimal(repr(float(value))).quantize(_DECIMALS, rounding=decimal.ROUND_FLOOR)
    )


def written_duration(seconds: float) -> str:
    """Returns seconds as '0:00:01.500000', or '-' for NaN."""
    return "-" if math.isnan(seconds) else str(datetime.timedelta(seconds=seconds))


def written_list(values: Iterable[object]) -> str:
    """Returns an array or tuple of numbers as '3,97'."""
    return ",".join(str(value) for value in values)
