import numpy as np
import pytest

from lsrs_tf.records import reading

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"


def test_radius_is_never_written_above_its_value():
    for value in (0.0, 0.1, 1 / 3, 0.9999999, 1e-9, 2.4600001):
        text = reading.rounded_down(value)
        assert float(text) <= value < float(text) + 1.1e-6
        assert "e" not in text.lower()


def test_file_of_another_package_is_read(tmp_path):
    path = tmp_path / "cohen"
    path.write_text(
        HEADER
        + "0\t3\t3\t0.428\t1\t0:00:15.132000\n"
        + "20\t7\t-1\t0.0\t0\t1 day, 0:00:14\n"
        + "40\t1\t2\t0.92\t0\t13.5\n"
    )
    first, second, third = reading.read(path)
    assert (first.idx, first.label, first.predict, first.radius) == (0, 3, 3, 0.428)
    assert first.correct
    assert first.seconds == pytest.approx(15.132)
    assert second.seconds == 86_414
    assert not third.correct
    assert third.seconds == 13.5
    assert first.extra == {}


def test_written_rows_come_back(tmp_path):
    path = tmp_path / "file.tsv"
    row = reading.format_row(7, 2, 2, 0.123456789, 3.25, ["a", 4])
    path.write_text(HEADER.rstrip() + "\tname\tcount\n" + row)
    (record,) = reading.read(path)
    assert record.radius == 0.123456
    assert record.seconds == 3.25
    assert record.extra == {"name": "a", "count": "4"}


def test_last_half_row_is_skipped(tmp_path):
    path = tmp_path / "file.tsv"
    path.write_text(HEADER + "0\t3\t3\t0.428\t1\t0:00:15\n1\t3\t3\t0.4")
    assert len(reading.read(path)) == 1


def test_last_line_of_another_package_needs_no_line_break(tmp_path):
    path = tmp_path / "cohen"
    path.write_text(HEADER + "0\t3\t3\t0.428\t1\t0:00:15\n20\t3\t3\t0.4\t1\t0:00:15")
    assert [record.idx for record in reading.read(path)] == [0, 20]


def test_image_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "file.tsv"
    path.write_text(HEADER + 2 * "5\t3\t3\t0.428\t1\t0:00:15\n")
    with pytest.raises(ValueError, match="more than one row for image 5"):
        reading.read(path)


def test_abstention_is_never_correct(tmp_path):
    path = tmp_path / "file.tsv"
    path.write_text(HEADER + reading.format_row(0, -1, -1, 0.0, 1.0, []))
    assert not reading.read(path)[0].correct


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0\t3\t3\t0.4\t1", "5 columns"),
        ("x\t3\t3\t0.4\t1\t0:00:01", "Line 2"),
        ("0\t3\t3\tnan\t1\t0:00:01", "radius nan"),
        ("0\t3\t3\t-0.1\t1\t0:00:01", "radius -0.1"),
        ("0\t3\t3\tinf\t1\t0:00:01", "radius inf"),
        ("0\t3\t4\t0.4\t1\t0:00:01", "correct is 1"),
        ("0\t3\t3\t0.4\t0\t0:00:01", "correct is 0"),
        ("0\t3\t-1\t0.4\t0\t0:00:01", "abstention"),
        ("0\t3\t3\t0.4\t1\tsoon", "time 'soon'"),
    ],
)
def test_damaged_row_is_named(tmp_path, row, message):
    path = tmp_path / "file.tsv"
    path.write_text(HEADER + row + "\n")
    with pytest.raises(ValueError, match=message):
        reading.read(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "file.tsv"
    with pytest.raises(FileNotFoundError, match=r"experiments\.certify"):
        reading.read(path)
    path.write_text("a,b,c\n")
    with pytest.raises(ValueError, match="not a certification file"):
        reading.read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a text file"):
        reading.read(path)


@pytest.mark.parametrize("radius", [0.3, 0.35, 0.6, 0.7, 0.8])
def test_target_radii_are_written_as_they_were_given(radius):
    assert float(reading.rounded_down(radius)) == radius
    assert float(reading.rounded_down(np.nextafter(radius, 0))) < radius
