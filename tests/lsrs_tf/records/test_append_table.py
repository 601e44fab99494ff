import pytest

from lsrs_tf.records.journal import Journal
from lsrs_tf.records.reading import read, read_table
from lsrs_tf.statistics.radius_scale import RadiusScale
from tests.lsrs_tf.records.test_head_dtype_column import SETTINGS


def _write(path, indices, settings=SETTINGS, hits=90, seconds=0.5):
    radius, p_lower = RadiusScale(0.25, 1.0, 0.0).proven([0, hits], 1, n=100, alpha=0.01)
    results = {"clean": 1, "p_lower": p_lower, "samples": 110, "image_fingerprint": "0" * 16}
    votes = {"selection_counts": [0, 10], "counts": [0, hits]}
    with Journal(path, settings) as file:
        for idx in indices:
            file.append(idx, 1, 1, radius, seconds, {**results, **votes})
    return path


def test_rows_are_taken_to_the_last_character(tmp_path):
    whole = _write(tmp_path / "whole.tsv", [0, 1, 2])
    with Journal(tmp_path / "taken.tsv", SETTINGS) as file:
        for idx in (2, 0, 1):
            file.append_table(read_table(_write(tmp_path / f"{idx}.tsv", [idx])))
        assert sorted(file.done) == [0, 1, 2]
        # A second attempt of an engine took another time.
        file.append_table(read_table(_write(tmp_path / "again.tsv", [1], seconds=7)))
        file.sort()
    assert (tmp_path / "taken.tsv").read_bytes() == whole.read_bytes()


def test_rows_that_contradict_others_are_refused(tmp_path):
    path = _write(tmp_path / "file.tsv", [0])
    content = path.read_bytes()
    other = read_table(_write(tmp_path / "votes.tsv", [0], hits=91))
    with (
        Journal(path, SETTINGS) as file,
        pytest.raises(ValueError, match="another certificate for image 0.*in counts, p_lower"),
    ):
        file.append_table(other)
    seed = read_table(_write(tmp_path / "seed.tsv", [1], {**SETTINGS, "seed": 1}))
    with (
        Journal(path, SETTINGS) as file,
        pytest.raises(FileExistsError, match="seed=1 before, 0 now"),
    ):
        file.append_table(seed)
    cast = read_table(_write(tmp_path / "cast.tsv", [1], {**SETTINGS, "head_dtype": "bfloat16"}))
    with (
        Journal(path, SETTINGS) as file,
        pytest.raises(ValueError, match="other columns.*head_dtype"),
    ):
        file.append_table(cast)
    assert path.read_bytes() == content


def test_file_of_an_earlier_version_takes_rows_without_what_came_later(tmp_path):
    path = _write(tmp_path / "file.tsv", [0])
    lines = [line.rsplit("\t", 1)[0] for line in path.read_text().splitlines()]
    path.write_text("".join(f"{line}\n" for line in lines))
    with Journal(path, SETTINGS) as file:
        file.append_table(read_table(_write(tmp_path / "1.tsv", [1])))
    assert [record.idx for record in read(path)] == [0, 1]
    assert "image_fingerprint" not in path.read_text()
