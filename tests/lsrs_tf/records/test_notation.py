import math

import numpy as np
import pytest

from lsrs_tf.records import notation


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:00:15.132000", 15.132),
        ("0:00:01.5", 1.5),
        ("0:00:01", 1.0),
        ("00:00:01.", 1.0),
        ("1 day, 0:00:01", 86_401.0),
        ("2 days, 3:04:05.25", 2 * 86_400 + 3 * 3_600 + 4 * 60 + 5.25),
        ("0 days 00:00:15.132000", 15.132),
        ("100:00:00", 360_000.0),
        ("12.5", 12.5),
        ("12", 12.0),
        (".5", 0.5),
        ("1.5e-3", 0.0015),
    ],
)
def test_durations_are_read(text, seconds):
    assert notation.duration(text) == pytest.approx(seconds, abs=1e-9)


def test_unknown_duration_is_nan():
    for text in ("", "-", "nan", "NaN"):
        assert math.isnan(notation.duration(text))
    assert notation.written_duration(math.nan) == "-"


@pytest.mark.parametrize(
    "text",
    ["soon", "-1", "-1 day, 23:59:59", "0:60:00", "0:00:99", "inf", "1e999", "1:2:3", "1_0", "٣"],
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="must be a number of seconds"):
        notation.duration(text)


def test_whole_numbers_may_have_zeros_after_the_point():
    for text, value in (("7", 7), ("7.0", 7), ("7.", 7), ("-1", -1), ("+3.000", 3), ("007", 7)):
        assert notation.whole_number(text) == value
    assert notation.whole_number(str(2**63 - 1)) == 2**63 - 1
    refused = ("7.5", "", "x", "1_000", "1e3", "nan", "inf", "0x7", "٣", str(2**63), "9" * 5000)
    for text in refused:
        with pytest.raises(ValueError, match="whole number") as error:
            notation.whole_number(text)
        assert len(str(error.value)) < 120


def test_numbers_are_finite():
    assert notation.number("1e-05") == 1e-5
    assert notation.number("-.5") == -0.5
    for text in ("nan", "inf", "-inf", "1e999", "infinity", "", "1_0", "0x1p3", "1e99999"):
        with pytest.raises(ValueError, match="finite number"):
            notation.number(text)
    with pytest.raises(ValueError, match="at least 0"):
        notation.number("-0.1", least=0.0)


def test_yes_and_no_are_read_as_others_write_them():
    for text in ("1", "True", "true", "TRUE", "1.0"):
        assert notation.yes_or_no(text) is True
    for text in ("0", "False", "0.0"):
        assert notation.yes_or_no(text) is False
    for text in ("", "2", "yes", "-1"):
        with pytest.raises(ValueError, match="1 or 0"):
            notation.yes_or_no(text)


def test_votes_and_radii_are_read():
    votes = notation.votes("3, 97,0")
    assert votes.tolist() == [3, 97, 0]
    assert votes.dtype == np.int64
    assert notation.radii("0.25,0.5") == (0.25, 0.5)
    for text in ("", "3,,4", "-1,2", "3;4", "1,x", f"{10**15},1"):
        with pytest.raises(ValueError, match="must be"):
            notation.votes(text)
    for text in ("0,1", "0.5,0.25", "0.5,0.5", "nan", "1,inf"):
        with pytest.raises(ValueError, match="must be"):
            notation.radii(text)


def test_radius_is_never_written_above_its_value():
    for value in (0.0, 0.1, 1 / 3, 0.9999999, 1e-9, 2.4600001):
        text = notation.written_radius(value)
        assert float(text) <= value < float(text) + 1.1e-6
        assert "e" not in text.lower()


@pytest.mark.parametrize("radius", [0.3, 0.35, 0.6, 0.7, 0.8])
def test_target_radii_are_written_as_they_were_given(radius):
    assert float(notation.written_radius(radius)) == radius
    assert float(notation.written_radius(np.nextafter(radius, 0))) < radius
