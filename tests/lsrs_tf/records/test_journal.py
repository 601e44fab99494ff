import errno
import gzip

import numpy as np
import pytest

from lsrs_tf.records import reading, schema
from lsrs_tf.records.journal import Journal

SETTINGS = {"sigma": 0.25, "n": 100}
# In the order of a file; the last one came later.
RESULTS = ["clean", "counts", "image_fingerprint"]
DIGITS = "0123456789abcdef"


def _append(file, idx, counts=(1, 99)):
    results = {"clean": 1, "counts": np.array(counts), "image_fingerprint": DIGITS}
    file.append(idx, 1, 1, 0.5, 0.1, results)


def _file(path, *images, results=RESULTS):
    with Journal(path, SETTINGS, results) as file:
        for idx in images:
            if idx not in file.done:
                _append(file, idx)
        file.sort()
    return path.read_bytes()


def test_resumes_where_it_was_left(tmp_path, capsys):
    path = tmp_path / "folder" / "file.tsv"
    _file(path, 0, 1)
    with Journal(path, SETTINGS, RESULTS) as file:
        assert sorted(file.done) == [0, 1]
        assert file.done[1].extra == {
            "sigma": "0.25",
            "n": "100",
            "clean": "1",
            "counts": "1,99",
            "image_fingerprint": DIGITS,
        }
        _append(file, 2)
    assert [record.idx for record in reading.read(path)] == [0, 1, 2]
    assert capsys.readouterr().out == ""


def test_rows_are_those_of_earlier_versions(tmp_path):
    with Journal(tmp_path / "file", {"target_radii": (0.25, 0.5), "tolerance": None}) as file:
        results = {
            "clean": 2,
            "p_lower": 1 / 3,
            "samples": 110,
            "selection_counts": np.array([1, 9]),
            "counts": np.array([20, 80]),
            "image_fingerprint": DIGITS,
        }
        file.append(7, 2, -1, 0.0, 86_401.5, results)
    assert (tmp_path / "file").read_bytes() == (
        b"idx\tlabel\tpredict\tradius\tcorrect\ttime\ttarget_radii\ttolerance\tclean\tp_lower\t"
        b"samples\tselection_counts\tcounts\timage_fingerprint\n"
        b"7\t2\t-1\t0.000000\t0\t1 day, 0:00:01.500000\t0.25,0.5\t-\t2\t0.3333333333333333\t"
        b"110\t1,9\t20,80\t0123456789abcdef\n"
    )


def test_sorts_its_rows(tmp_path):
    path = tmp_path / "file.tsv"
    with Journal(path, SETTINGS, RESULTS) as file:
        for idx in (10, 2, 0, 1):
            _append(file, idx)
        file.sort()
        # It goes on in the sorted file.
        _append(file, 5)
    assert [record.idx for record in reading.read(path)] == [0, 1, 2, 10, 5]
    with Journal(path, SETTINGS, RESULTS) as file:
        assert sorted(file.done) == [0, 1, 2, 5, 10]
        file.sort()
        before = path.stat().st_ino
        file.sort()
        assert path.stat().st_ino == before


def test_half_a_row_is_dropped_with_a_message(tmp_path, capsys):
    path = tmp_path / "file.tsv"
    both = _file(path, 0, 12)
    header = both.index(b"\n")
    for length in range(len(both)):
        path.write_bytes(both[:length])
        assert _file(path, 0, 12) == both
        printed = capsys.readouterr().out
        half = both[:length].rpartition(b"\n")[2]
        assert ("is dropped" in printed) == bool(length > header and half)
        if half in (b"1", b"12"):
            # The index may itself be cut off.
            assert "its image will be certified again" in printed


COPIES = {
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "some_crlf": lambda text: text.replace("\n", "\r\n", 1),
    "byte_order_mark": lambda text: "\ufeff" + text,
    "quoted": lambda text: text.replace("1,99", '"1,99"').replace("sigma", '"sigma"'),
    "blank_lines": lambda text: text + "\n\n",
    "spaces": lambda text: text.replace("\t", " \t"),
    "columns": lambda text: "".join(
        "\t".join(line.split("\t")[::-1]) + "\n" for line in text.splitlines()
    ),
}


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 20])
@pytest.mark.parametrize("copy", COPIES)
def test_copy_resumes_to_the_file_of_an_uninterrupted_run(tmp_path, copy, cut, capsys):
    expected = _file(tmp_path / "whole.tsv", 0, 1, 2)
    text = COPIES[copy](_file(tmp_path / "file.tsv", 0, 1).decode()).encode()
    (tmp_path / "file.tsv").write_bytes(text[: len(text) - cut])
    assert _file(tmp_path / "file.tsv", 0, 1, 2) == expected
    if copy != "blank_lines":
        assert "Brought" in capsys.readouterr().out


def test_copy_is_not_touched_before_it_is_known_to_be_fine(tmp_path):
    path = tmp_path / "file.tsv"
    content = _file(path, 0, 1).replace(b"\n", b"\r\n").replace(b"1,99", b"1,x", 1) + b"2\t1"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="Line 2 .* certified again when certification resumes"):
        Journal(path, SETTINGS, RESULTS)
    assert path.read_bytes() == content
    content = content.replace(b"1,x", b"1,99")
    path.write_bytes(content)
    with pytest.raises(FileExistsError, match="other settings"):
        Journal(path, {**SETTINGS, "sigma": 0.5}, RESULTS)
    assert path.read_bytes() == content


def test_copy_is_locked_after_it_was_rewritten(tmp_path):
    path = tmp_path / "file.tsv"
    path.write_bytes(_file(path, 0).replace(b"\n", b"\r\n"))
    with (
        Journal(path, SETTINGS, RESULTS),
        pytest.raises(FileExistsError, match="Another process"),
    ):
        Journal(path, SETTINGS, RESULTS)


def test_file_of_an_earlier_version_goes_on_without_later_columns(tmp_path):
    earlier = _file(tmp_path / "whole.tsv", 0, 1, 2, results=RESULTS[:2])
    _file(tmp_path / "file.tsv", 0, results=RESULTS[:2])
    assert _file(tmp_path / "file.tsv", 0, 1, 2) == earlier
    # What came with the first version is not optional.
    _file(tmp_path / "other.tsv", 0, results=RESULTS[1:])
    with pytest.raises(FileExistsError, match="lacks clean"):
        Journal(tmp_path / "other.tsv", SETTINGS, RESULTS)


def test_compressed_file_cannot_be_resumed(tmp_path):
    path = tmp_path / "file.tsv.gz"
    content = gzip.compress(_file(path, 0))
    path.write_bytes(content)
    with pytest.raises(FileExistsError, match="is compressed.*gunzip"):
        Journal(path, SETTINGS, RESULTS)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [b"notes", b"\n", b"\0\0\n", b"\xff\xfe\n", b'"\n', b"a\tb\n1\t2\n", b"idx\tidx\n", b"\r\r"],
)
def test_hostile_files_are_not_touched(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FileExistsError, match="another kind of file") as error:
        Journal(path, SETTINGS, RESULTS)
    assert len(str(error.value)) < 600
    assert path.read_bytes() == content


def test_folder_is_refused(tmp_path):
    with pytest.raises(FileExistsError, match="is a folder"):
        Journal(tmp_path, SETTINGS, RESULTS)


def test_other_settings_are_refused_and_nothing_is_lost(tmp_path):
    path = tmp_path / "file.tsv"
    with Journal(path, SETTINGS, RESULTS) as file:
        _append(file, 0)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"sigma=0\.25 before, 0\.5 now"):
        Journal(path, {**SETTINGS, "sigma": 0.5}, RESULTS)
    with pytest.raises(FileExistsError, match="has 'clean', .* and lacks votes"):
        Journal(path, SETTINGS, ["votes"])
    assert path.read_bytes() == before


def test_other_files_are_not_touched(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("idx\tof my notes, without a line break at the end")
    with pytest.raises(FileExistsError, match="another kind of file"):
        Journal(path, SETTINGS, RESULTS)
    assert path.read_text().endswith("at the end")


def test_second_writer_is_refused(tmp_path):
    path = tmp_path / "file.tsv"
    with (
        Journal(path, SETTINGS, RESULTS),
        pytest.raises(FileExistsError, match="Another process"),
    ):
        Journal(path, SETTINGS, RESULTS)
    Journal(path, SETTINGS, RESULTS).close()


def test_full_disk_says_that_the_rows_before_are_safe(tmp_path, monkeypatch):
    path = tmp_path / "file.tsv"
    with Journal(path, SETTINGS, RESULTS) as file:
        _append(file, 0)

        def full(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="rows before are safe"):
            _append(file, 1)
        monkeypatch.undo()
    assert reading.read(path)[0].idx == 0


def test_setting_that_came_later_was_its_default_before(tmp_path, monkeypatch):
    path = tmp_path / "file.tsv"
    _file(path, 0)
    column = schema.Column("purpose", schema.SETTING, default="test", later=True)
    monkeypatch.setitem(schema._BY_NAME, "purpose", column)
    monkeypatch.setattr(schema, "LATER", schema.LATER | {"purpose"})
    with Journal(path, {**SETTINGS, "purpose": "test"}, RESULTS) as file:
        assert sorted(file.done) == [0]
    with pytest.raises(FileExistsError, match="purpose=test before, other now"):
        Journal(path, {**SETTINGS, "purpose": "other"}, RESULTS)


def test_file_of_an_earlier_version_goes_on_without_costs(tmp_path):
    costs = {"multiply_adds_per_image": 100, "multiply_adds_per_sample": 7}
    path = tmp_path / "file.tsv"
    _file(path, 0)
    with Journal(path, {**SETTINGS, **costs}, RESULTS) as file:
        assert sorted(file.done) == [0]
    # Where the file tells them, they are those of the same model.
    Journal(tmp_path / "with.tsv", {**SETTINGS, **costs}, RESULTS).close()
    with Journal(tmp_path / "with.tsv", {**SETTINGS, **costs}, RESULTS) as file:
        _append(file, 0)
    costs["multiply_adds_per_sample"] = 8
    with pytest.raises(FileExistsError, match="multiply_adds_per_sample=7 before, 8 now"):
        Journal(tmp_path / "with.tsv", {**SETTINGS, **costs}, RESULTS)
