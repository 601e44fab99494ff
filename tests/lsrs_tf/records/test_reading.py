import gzip
import math
import time

import pytest

from lsrs_tf.records import reading
from tests.certification_files import COLUMNS, file, row

HEADER = "\t".join(COLUMNS) + "\n"
ROWS = ["0\t3\t3\t0.428\t1\t0:00:15.132", "20\t7\t-1\t0.0\t0\t1 day, 0:00:14"]
TEN = [f"{idx}\t3\t{3 if idx else 4}\t0.5\t{int(idx > 0)}" for idx in range(10)]


def _read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return reading.read(path)


def test_file_of_another_package_is_read(tmp_path):
    first, second, third = _read(
        tmp_path / "cohen", HEADER + "\n".join([*ROWS, "40\t1\t2\t0.92\t0\t13.5\n"])
    )
    assert (first.idx, first.label, first.predict, first.radius) == (0, 3, 3, 0.428)
    assert first.correct
    assert first.seconds == pytest.approx(15.132)
    assert second.seconds == 86_414
    assert not third.correct
    assert third.seconds == 13.5
    assert first.extra == {}


def test_written_rows_come_back(tmp_path):
    (record,) = reading.read(
        file(tmp_path / "file", ["name", "count"], [(7, 2, 2, 0.123456789, 3.25, ["a", 4])])
    )
    assert record.radius == 0.123456
    assert record.seconds == 3.25
    assert record.extra == {"name": "a", "count": "4"}


@pytest.mark.parametrize("last", ["", "end"])
@pytest.mark.parametrize("seventh", [False, True])
@pytest.mark.parametrize("when", ["0:00:15.132", "0:00:15", "13.5", "13", "1 day, 0:00:01"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_last_line_without_line_break_is_kept(tmp_path, end, when, seventh, last):
    further = "\tx" if seventh else ""
    lines = [HEADER.rstrip() + ("\tnote" if seventh else "")]
    lines += [f"{line}\t{when}{further}" for line in TEN]
    text = end.join(lines) + (end if last else "")
    records = _read(tmp_path / "file", text)
    assert [record.idx for record in records] == list(range(10))
    assert sum(record.correct for record in records) == 9


def test_last_line_that_is_cut_off_is_refused(tmp_path):
    whole = HEADER + "\n".join(ROWS)
    for left in range(len("20\t7\t-1\t0.0\t0\t"), 0, -1):
        text = whole[: whole.rindex("\n") + 1 + left]
        with pytest.raises(ValueError, match="Line 3 .* ends without a line break, and may be cut"):
            _read(tmp_path / "file", text)


@pytest.mark.parametrize("end", ["", "\n"])
def test_own_last_line_is_read_whole_or_refused(tmp_path, end):
    names = ["n", "alpha", "sigma", "lipschitz", "selection_counts", "counts"]
    text = file(
        tmp_path / "file",
        names,
        [(0, 0, 0, 0.324751, 1.0, [100, 0.01, 0.25, 1.0, "9,0,1", "97,1,2"])],
    ).read_text()
    assert len(_read(tmp_path / "file", text.rstrip("\n") + end)) == 1
    # The last count might have been longer.
    fewer = text.rstrip("\n")[:-1] + "1" + end
    if end:
        assert len(_read(tmp_path / "file", fewer)) == 1
    else:
        with pytest.raises(ValueError, match="fewer votes than samples .* may be cut off"):
            _read(tmp_path / "file", fewer)


def test_last_line_may_say_that_votes_are_unknown(tmp_path):
    names = ["n", "selection_counts", "counts"]
    text = file(tmp_path / "file", names, [(0, 0, 0, 0.25, 1.0, [100, "-", "-"])]).read_text()
    (record,) = _read(tmp_path / "file", text.rstrip("\n"))
    assert record.votes is None


def test_columns_are_found_by_name(tmp_path):
    header = "note\ttime\tcorrect\tp\tidx\tradius\tlabel\tpredict\tp_lower"
    line = "a b\t0:00:01\t1\t.5\t4\t0.25\t2\t2\t0.9"
    (record,) = _read(tmp_path / "file", f"{header}\n{line}\n")
    assert (record.idx, record.label, record.predict, record.radius) == (4, 2, 2, 0.25)
    assert record.seconds == 1
    assert record.extra == {"note": "a b", "p": ".5", "p_lower": "0.9"}


def test_two_columns_between_correct_and_time(tmp_path):
    header = "idx\tlabel\tpredict\tradius\tcorrect\tpABar\tsamples\ttime"
    (record,) = _read(tmp_path / "file", f"{header}\n0\t3\t3\t0.4\t1\t0.9\t1000\t0:00:02")
    assert record.seconds == 2
    assert record.value("samples") == 1000


def test_byte_order_mark_and_compression_are_read(tmp_path):
    text = HEADER + "\n".join(ROWS) + "\n"
    expected = _read(tmp_path / "file", text)
    marked = b"\xef\xbb\xbf" + text.encode()
    for name, content in (
        ("marked", marked),
        ("file.tsv.gz", gzip.compress(text.encode())),
        ("without_suffix", gzip.compress(marked)),
        ("not_compressed.gz", text),
    ):
        assert _read(tmp_path / name, content) == expected


def test_values_are_read_as_others_write_them(tmp_path):
    text = (
        '"idx"\t"label"\t"predict"\t"radius"\t"correct"\t"time"\tsamples\tnote\n'
        '"5"\t3.0\t3.0\t4e-1\tTrue\t"0:00:01"\t1000.0\t"a\ttab, ""quotes"""\n'
        "7.0\t3\t-1.0\t0\tFalse\t\t-\t\n"
        "\n"
        " 9\t-1\t-1\t0.0 \t0.0\tnan\tnan\tx\n"
    )
    first, second, third = _read(tmp_path / "file", text)
    assert (first.idx, first.label, first.predict, first.radius) == (5, 3, 3, 0.4)
    assert first.correct is True
    assert first.value("samples") == 1000
    assert first.extra["note"] == 'a\ttab, "quotes"'
    assert second.correct is False
    assert math.isnan(second.seconds)
    assert second.value("samples") is None
    assert (third.idx, third.label) == (9, -1)


def test_settings_of_others_may_be_anything(tmp_path):
    header = HEADER.rstrip() + "\tsigma\tn\tmethod\tseed\n"
    (record,) = _read(tmp_path / "file", header + ROWS[0] + "\t0.25 of 1\t100k\tsmooth\tNone\n")
    assert record.extra["n"] == "100k"


def test_image_that_comes_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="more than one row for image 5 .lines 2 and 3."):
        _read(tmp_path / "file", HEADER + 2 * "5\t3\t3\t0.428\t1\t0:00:15\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0\t3\t3\t0.4\t1", "5 columns instead of 6"),
        ("0\t3\t3\t0.4\t1\t0:00:01\t7", "7 columns instead of 6"),
        ("0\t3\t3\t0.4\t1\t0:00:01\t", "7 columns instead of 6"),
        ("0 3 3 0.4 1 0:00:01", "1 columns instead of 6"),
        ("x\t3\t3\t0.4\t1\t0:00:01", "column idx must be a whole number"),
        ("\t3\t3\t0.4\t1\t0:00:01", "column idx"),
        ("-1\t3\t3\t0.4\t1\t0:00:01", "column idx must be a whole number of at least 0"),
        ("9" * 30 + "\t3\t3\t0.4\t1\t0:00:01", "column idx"),
        ("9" * 5000 + "\t3\t3\t0.4\t1\t0:00:01", "column idx"),
        ("0\t-2\t3\t0.4\t0\t0:00:01", "column label"),
        ("0\t3\t3.5\t0.4\t0\t0:00:01", "column predict"),
        ("0\t3\t3\tnan\t1\t0:00:01", "column radius must be a finite number .* received 'nan'"),
        ("0\t3\t3\t-0.1\t1\t0:00:01", "column radius .* at least 0; received '-0.1'"),
        ("0\t3\t3\tinf\t1\t0:00:01", "column radius"),
        ("0\t3\t3\t1e999\t1\t0:00:01", "column radius"),
        ("0\t3\t3\t0,4\t1\t0:00:01", "column radius"),
        ("0\t3\t4\t0.4\t1\t0:00:01", "correct is 1, but the label is 3, predicted 4"),
        ("0\t3\t3\t0.4\t0\t0:00:01", "correct is 0"),
        ("0\t3\t3\t0.4\tyes\t0:00:01", "column correct must be 1 or 0"),
        ("0\t3\t-1\t0.4\t0\t0:00:01", "an abstention with radius 0.4"),
        ("0\t3\t3\t0.4\t1\tsoon", "column time must be .* received 'soon'"),
        ("0\t3\t3\t0.4\t1\t-1 day, 0:00:01", "column time"),
        ("0\t3\t3\t0.4\t1\t0:00\0:01", "NUL"),
        ('0\t3\t3\t0.4\t1\t"0:00:01', "unexpected end of data"),
        ('0\t3\t3\t0.4\t"1"x\t0:00:01', "expected after"),
        ("0\t3\t3\t0.4\t1\t" + "0" * 200_000, "field larger than field limit"),
    ],
)
@pytest.mark.parametrize("before", [0, 2])
def test_damaged_line_is_named(tmp_path, line, message, before):
    text = HEADER + "".join(row(100 + idx, 3, 3, 0.5, 1.0) for idx in range(before)) + line + "\n"
    with pytest.raises(
        ValueError, match=f"Line {before + 2} of .* is damaged: .*{message}"
    ) as error:
        _read(tmp_path / "file", text)
    assert len(str(error.value)) < 1_000
    # What others have certified is not certified again.
    assert "certified again" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "samples",
        "clean",
        "p_lower",
        "counts",
        "image_fingerprint",
        "multiply_adds_per_image",
        "multiply_adds_per_sample",
    ],
)
def test_results_that_tables_need_are_read_or_refused(tmp_path, name):
    path = file(tmp_path / "file", [name], [(0, 1, 1, 0.5, 1.0, ["many"])])
    with pytest.raises(ValueError, match=f"Line 2 of .* column {name} must be"):
        reading.read(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "file.tsv"
    with pytest.raises(FileNotFoundError, match=r"experiments\.certify"):
        reading.read(path)
    for content, message in (
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b,c\n", "not a certification file: its first line lacks idx, label"),
        (HEADER.replace("\t", ",").encode(), "not a certification file"),
        (HEADER.replace("\tradius", "").encode(), "its first line lacks radius"),
        (HEADER.encode().replace(b"\n", b"\tnote\tnote\n"), "more than one column .* 'note'"),
        (HEADER.encode().replace(b"\n", b"\tidx\n"), "more than one column .* 'idx'"),
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
        (HEADER.encode("utf-16"), "not a text file in UTF-8"),
        (gzip.compress(HEADER.encode())[:-5], "cannot be decompressed"),
        (b"\x1f\x8bnot gzip", "cannot be decompressed"),
        (gzip.compress(HEADER.encode()) + b"more", "cannot be decompressed"),
        (gzip.compress(b"\x1f\x8b"), "not a text file"),
        (b"\0" * 100, "NUL"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            _read(path, content)
        assert len(str(error.value)) < 600


def test_header_alone_holds_no_records(tmp_path):
    assert _read(tmp_path / "file", HEADER) == []
    assert _read(tmp_path / "file", HEADER.rstrip()) == []


def test_folder_stands_for_its_certification_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no certification file at .*certified\.tsv"):
        reading.read(tmp_path)
    file(tmp_path / "certified.tsv", [], [(0, 1, 1, 0.5, 1.0)])
    table = reading.read_table(tmp_path)
    assert table.path == tmp_path / "certified.tsv"
    assert table.header == COLUMNS
    assert len(table.rows) == len(table.records) == 1


def test_contradiction_is_named_with_its_line(tmp_path):
    names = ["n", "alpha", "sigma", "lipschitz", "selection_counts", "counts"]
    settings = [100, 0.01, 0.25, 1.0, "9,1", "97,3"]
    path = file(tmp_path / "file", names, [(4, 0, 0, 0.4, 1.0, settings)])
    with pytest.raises(ValueError, match="Line 2 of .* votes prove radius 0.324751 of class 0"):
        reading.read(path)


def test_rows_with_votes_agree_in_their_settings(tmp_path):
    names = ["sigma", "selection_counts", "counts"]
    rows = [(idx, 0, 0, 0.4, 1.0, [idx / 100, "9,1", "97,3"]) for idx in range(300)]
    with pytest.raises(ValueError, match="mixes rows of different settings: sigma") as error:
        reading.read(file(tmp_path / "file", names, rows))
    assert len(str(error.value)) < 400
    # Other people may have certified each image at its own.
    assert (
        len(
            reading.read(
                file(tmp_path / "file", names[:1], [row[:5] + (row[5][:1],) for row in rows])
            )
        )
        == 300
    )


def test_large_file_is_read_in_seconds(tmp_path):
    names = ["n", "alpha", "sigma", "lipschitz", "selection_counts", "counts"]
    settings = [100, 0.01, 0.25, 1.0, "9,1", "97,3"]
    path = file(
        tmp_path / "file", names, [(idx, 0, 0, 0.324751, 1.0, settings) for idx in range(20_000)]
    )
    start = time.monotonic()
    assert len(reading.read(path)) == 20_000
    assert time.monotonic() - start < 30
