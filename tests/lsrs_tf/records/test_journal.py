import errno

import pytest

from lsrs_tf.records import reading
from lsrs_tf.records.journal import Journal

SETTINGS = {"sigma": 0.25, "n": 100}


def _append(file, idx):
    file.append(idx, 1, 1, 0.5, 0.1, {"counts": "1,99"})


def test_resumes_where_it_was_left(tmp_path):
    path = tmp_path / "folder" / "file.tsv"
    with Journal(path, SETTINGS, ["counts"]) as file:
        assert file.done == {}
        _append(file, 0)
        _append(file, 1)
    with Journal(path, SETTINGS, ["counts"]) as file:
        assert sorted(file.done) == [0, 1]
        assert file.done[1].extra == {"sigma": "0.25", "n": "100", "counts": "1,99"}
        _append(file, 2)
    assert [record.idx for record in reading.read(path)] == [0, 1, 2]


def test_sorts_its_rows(tmp_path):
    path = tmp_path / "file.tsv"
    with Journal(path, SETTINGS, ["counts"]) as file:
        for idx in (10, 2, 0, 1):
            _append(file, idx)
        file.sort()
    assert [record.idx for record in reading.read(path)] == [0, 1, 2, 10]
    with Journal(path, SETTINGS, ["counts"]) as file:
        assert sorted(file.done) == [0, 1, 2, 10]
        before = path.stat().st_ino
        file.sort()
        assert path.stat().st_ino == before


@pytest.mark.parametrize("left", [1, 10, 30, 60, 100])
def test_half_a_row_is_cut_off(tmp_path, left):
    path = tmp_path / "file.tsv"
    with Journal(path, SETTINGS, ["counts"]) as file:
        _append(file, 0)
        whole = path.read_bytes()
        _append(file, 1)
    # A kill can stop a write anywhere, in the header too.
    path.write_bytes(path.read_bytes()[:-left])
    with Journal(path, SETTINGS, ["counts"]) as file:
        for idx in (0, 1):
            if idx not in file.done:
                _append(file, idx)
    assert [record.idx for record in reading.read(path)] == [0, 1]
    assert path.read_bytes().startswith(whole)


def test_other_settings_are_refused_and_nothing_is_lost(tmp_path):
    path = tmp_path / "file.tsv"
    with Journal(path, SETTINGS, ["counts"]) as file:
        _append(file, 0)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"sigma=0\.25 before, 0\.5 now"):
        Journal(path, {**SETTINGS, "sigma": 0.5}, ["counts"])
    with pytest.raises(FileExistsError, match="other columns"):
        Journal(path, SETTINGS, ["votes"])
    assert path.read_bytes() == before


def test_other_files_are_not_touched(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("idx\tof my notes, without a line break at the end")
    with pytest.raises(FileExistsError, match="another kind of file"):
        Journal(path, SETTINGS, ["counts"])
    assert path.read_text().endswith("at the end")


def test_second_writer_is_refused(tmp_path):
    path = tmp_path / "file.tsv"
    with (
        Journal(path, SETTINGS, ["counts"]),
        pytest.raises(FileExistsError, match="Another process"),
    ):
        Journal(path, SETTINGS, ["counts"])
    Journal(path, SETTINGS, ["counts"]).close()


def test_full_disk_says_that_the_rows_before_are_safe(tmp_path, monkeypatch):
    path = tmp_path / "file.tsv"
    with Journal(path, SETTINGS, ["counts"]) as file:
        _append(file, 0)

        def full(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="rows before are safe"):
            _append(file, 1)
        monkeypatch.undo()
    assert reading.read(path)[0].idx == 0
