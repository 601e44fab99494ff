import dataclasses
import math

import numpy as np
import pytest

from experiments import datasets
from experiments.attacked_test_set import attack_test_images
from experiments.certified_test_set import check_images
from lsrs_tf import models
from lsrs_tf.attacks.functions import attacker_of
from lsrs_tf.records import attacks
from lsrs_tf.records.attacks import LAYOUT, read_attacks
from lsrs_tf.records.merging import merge_layout
from lsrs_tf.records.reading import read
from tests.commands import imported_command


@pytest.fixture(scope="module")
def model():
    return models.convnet(width=2)


def _attack(model, path, indices, steps=5, **options):
    attacker = attacker_of(model, "fmn", steps=steps)
    data = datasets.load("digits")
    settings = {"restarts": 1, "seed": 0}
    attack_test_images(attacker, model, data, path, indices, settings=settings, **options)


def test_rows_resume_and_refuse_other_settings(model, tmp_path):
    path = tmp_path / "attacked.tsv"
    _attack(model, path, [3])
    _attack(model, path, [0, 3, 7], adversarial_dir=tmp_path / "pairs")
    records = read_attacks(path)
    assert [record.idx for record in records] == [0, 3, 7]
    for record in records:
        assert (record.distance == 0) == (record.clean != record.label)
        assert record.extra["attack"] == "fmn"
        assert record.value("steps") == "5"
    found = [record for record in records if record.idx != 3 and math.isfinite(record.distance)]
    assert len(list((tmp_path / "pairs").glob("*.png"))) == 2 * len(found)
    with pytest.raises(FileExistsError, match="steps=5 before, 6 now"):
        _attack(model, path, [0, 3, 7], steps=6)
    with pytest.raises(FileExistsError, match="not among"):
        _attack(model, path, [0, 3])
    # Distances are never taken for radii.
    with pytest.raises(ValueError, match="lacks predict, radius"):
        read(path)


def test_damaged_rows_are_refused(model, tmp_path):
    path = tmp_path / "attacked.tsv"
    _attack(model, path, [0, 3, 7])
    text = path.read_text()
    rows = [line.split("\t") for line in text.splitlines()]
    for column, value, message in (
        (3, "-1", "column distance"),
        (3, "nan", "column distance"),
        (4, "-0.5", "column changed_distance"),
        (2, "x", "column found"),
    ):
        changed = [list(row) for row in rows]
        changed[2][column] = value
        path.write_text("".join("\t".join(row) + "\n" for row in changed))
        with pytest.raises(ValueError, match=f"Line 3 .*{message}"):
            read_attacks(path)
    path.write_text(text + text.splitlines()[-1] + "\n")
    with pytest.raises(ValueError, match="more than one row for image 7"):
        read_attacks(path)
    assert np.isfinite(float(rows[1][3])) or rows[1][3] == "inf"


def test_a_file_of_a_cast_head_says_so_and_goes_on_with_no_other(model, tmp_path):
    path, data = tmp_path / "attacked.tsv", datasets.load("digits")

    def attack(head_dtype, indices):
        options = {"head_dtype": head_dtype, "n": 100, "draws": 2, "steps": 1}
        attacker = attacker_of(model, "ddn", classifier="smoothed", **options)
        attack_test_images(attacker, model, data, path, indices, settings=options)

    attack("bfloat16", [3])
    with pytest.raises(FileExistsError, match="head_dtype: bfloat16 before, own now"):
        attack(None, [3, 7])
    attack("bfloat16", [3, 7])
    assert {record.extra["head_dtype"] for record in read_attacks(path)} == {"bfloat16"}
    path.unlink()
    attack(None, [3])
    assert "head_dtype" not in path.read_text()
    with pytest.raises(FileExistsError, match="head_dtype: own before, bfloat16 now"):
        attack("bfloat16", [3, 7])


def test_shards_are_merged_with_the_checks_of_certificates(model, tmp_path):
    whole, outfile = tmp_path / "whole.tsv", tmp_path / "attacked.tsv"
    shards = [tmp_path / f"attacked.{part}of2.tsv" for part in (1, 2)]
    for path, indices in ((whole, [0, 3, 7]), (shards[0], [0, 7]), (shards[1], [3])):
        _attack(model, path, indices, steps=2)
    with pytest.raises(ValueError, match="1 are missing .such as 3"):
        merge_layout(LAYOUT, shards[:1], outfile, [0, 3, 7])
    with pytest.raises(ValueError, match="Image 0 is in"):
        merge_layout(LAYOUT, [*shards, shards[0]], outfile, [0, 3, 7])
    with pytest.raises(ValueError, match="1 do not belong"):
        merge_layout(LAYOUT, shards, outfile, [0, 3])
    other = tmp_path / "other.tsv"
    _attack(model, other, [3], steps=3)
    with pytest.raises(ValueError, match="steps=2 and 3"):
        merge_layout(LAYOUT, [shards[0], other], outfile, [0, 3, 7])
    assert not outfile.exists()
    data = datasets.load("digits")
    merge_layout(LAYOUT, shards, outfile, [0, 3, 7], lambda all_: check_images(all_, data, "one"))
    merged, single = ([_without_time(one) for one in read_attacks(at)] for at in (outfile, whole))
    assert merged == single
    with pytest.raises(FileExistsError, match="exists already"):
        merge_layout(LAYOUT, shards, outfile, [0, 3, 7])
    with imported_command("experiments.merge") as command:
        assert command.kind_of(outfile) is attacks
        assert command.kind_of(tmp_path / "none.tsv") is None
        outfile.write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n")
        assert command.kind_of(outfile) is None


def _without_time(record):
    return dataclasses.replace(record, seconds=0.0)
