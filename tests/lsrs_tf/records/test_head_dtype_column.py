"""Rows of heads of different dtypes never get into one file, nor next to attacks on another."""

import pytest

from experiments.recertify import recertify_file
from experiments.sandwich import left_out, sandwiches
from lsrs_tf.records import reading
from lsrs_tf.records.attacks import AttackJournal, AttackRecord
from lsrs_tf.records.journal import Journal
from lsrs_tf.records.merging import merge
from lsrs_tf.records.summary import read_run
from lsrs_tf.statistics.radius_scale import RadiusScale

SETTINGS = {
    "data": "digits",
    "method": "fixed",
    "sigma": 0.25,
    "n0": 10,
    "n": 100,
    "alpha": 0.01,
    "seed": 0,
    "noise": "float32",
    "lipschitz": 1.0,
    "model": "abc",
}
CAST = {**SETTINGS, "head_dtype": "bfloat16"}


def _write(path, settings, indices):
    radius, p_lower = RadiusScale(0.25, 1.0, 0.0).proven([0, 90], 1, n=100, alpha=0.01)
    results = {"clean": 1, "p_lower": p_lower, "samples": 110, "image_fingerprint": "0" * 16}
    votes = {"selection_counts": [0, 10], "counts": [0, 90]}
    with Journal(path, settings) as file:
        for idx in indices:
            file.append(idx, 1, 1, radius, 0.5, {**results, **votes})
    return path


@pytest.mark.parametrize("indices", [[0], []])
def test_a_file_is_not_resumed_with_another_dtype(tmp_path, indices):
    cast = "bfloat16" if indices else "cast"
    for before, now, said in (
        (SETTINGS, CAST, "own before, bfloat16 now"),
        (CAST, SETTINGS, f"{cast} before, own now"),
    ):
        path = tmp_path / f"{len(before)}.tsv"
        _write(path, before, indices)
        content = path.read_bytes()
        with pytest.raises(FileExistsError, match=rf"other settings \(head_dtype: {said}\)"):
            _write(path, now, [1])
        assert path.read_bytes() == content
        _write(path, before, [1])
    # In a file of a third dtype, the setting differs.
    with pytest.raises(FileExistsError, match="head_dtype=bfloat16 before, float16 now"):
        _write(path, {**CAST, "head_dtype": "float16"}, [2])


def test_shards_of_different_dtypes_are_not_merged(tmp_path):
    own = _write(tmp_path / "1.tsv", SETTINGS, [0])
    cast = _write(tmp_path / "2.tsv", CAST, [1])
    with pytest.raises(ValueError, match="head_dtype"):
        merge([own, cast], tmp_path / "both.tsv", [0, 1])
    merge([cast, _write(tmp_path / "3.tsv", CAST, [0])], tmp_path / "whole.tsv", [0, 1])
    assert reading.read(tmp_path / "whole.tsv")[0].settings["head_dtype"] == "bfloat16"


def test_tables_and_other_alphas_say_so(tmp_path):
    own = _write(tmp_path / "own.tsv", SETTINGS, [0])
    cast = _write(tmp_path / "cast.tsv", CAST, [0])
    assert read_run(own).certificates == "n 100, alpha 0.01"
    assert read_run(cast).certificates == "n 100, alpha 0.01, bfloat16 head"
    recertify_file(cast, tmp_path / "again.tsv", alpha=0.1)
    assert read_run(tmp_path / "again.tsv").certificates == "n 100, alpha 0.1, bfloat16 head"


def test_attacks_on_the_head_in_its_own_dtype_contradict_nothing(tmp_path):
    for name, settings, pairs in (("own", SETTINGS, 1), ("cast", CAST, 0)):
        folder = tmp_path / name
        _write(folder / "certified.tsv", settings, [0])
        columns = {
            "data": "digits",
            "attack": "ddn",
            "classifier": "smoothed",
            "sigma": 0.25,
            "alpha": 0.01,
            "n": 100,
            "model": "abc",
        }
        with AttackJournal(folder / "attacked.tsv", columns) as journal:
            extra = {"note": None, "image_fingerprint": "0" * 16}
            journal.add(AttackRecord(0, 1, 0, 1e-3, 1e-3, 1, 1.0, extra))
        run = read_run(folder)
        assert len(sandwiches({name: run})) == pairs
        lines = left_out([run])
        assert len(lines) == 1 - pairs
    assert "attacks the smoothed classifier" in lines[0]
    assert "about the smoothed, bfloat16 one" in lines[0]
