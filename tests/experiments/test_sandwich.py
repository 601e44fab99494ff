import shutil

import pytest

from experiments.attack_report import plot_sandwiches
from experiments.report_writer import alarms_of, write_report
from experiments.sandwich import sandwiches
from lsrs_tf.records.attacks import AttackJournal, AttackRecord
from lsrs_tf.records.summary import read_run
from tests.certification_files import file
from tests.commands import run_command

SETTINGS = {
    "data": "digits",
    "attack": "ddn",
    "classifier": "smoothed",
    "sigma": 0.25,
    "alpha": 0.001,
    "n": 1000,
    "model": "abc",
}


def _attacks(path, rows, **changed):
    with AttackJournal(path, {**SETTINGS, **changed}) as journal:
        for idx, label, found, distance, other in rows:
            extra = {"note": None, "image_fingerprint": None}
            journal.add(AttackRecord(idx, label, found, distance, other, label, 1.0, extra))


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    rows = [(idx, 1, 1, 0.5, 1.0, ["0/2", "0.25", "abc", "digits", "0.001"]) for idx in range(4)]
    file(folder / "certified.tsv", ["replaced", "sigma", "model", "data", "alpha"], rows)
    return folder


def test_report_has_both_sides(run, tmp_path):
    rows = [(0, 1, 2, 1.0, 1.5), (1, 1, 2, 1.0, 1.0), (2, 1, 1, float("inf"), float("inf"))]
    _attacks(run / "attacked.tsv", rows)
    _attacks(run / "attacked.fmn.tsv", [(0, 1, -1, 0.75, 1.2)], attack="fmn")
    text = write_report([run], tmp_path / "report")
    assert "ddn, fmn" in text
    assert "0 of 3 attacks inside a certificate." in text
    assert (tmp_path / "report" / "sandwich.png").exists()
    lines = (tmp_path / "report" / "sandwich.csv").read_text().splitlines()
    assert lines[1].endswith(",0,0.5,-,0.75,1.2")
    assert alarms_of([run]) == []


def test_images_with_one_side_only_are_counted_in_the_report(run, tmp_path):
    _attacks(run / "attacked.tsv", [(0, 1, 2, 1.0, 1.5), (7, 1, 2, 1.0, 1.0), (9, 1, 2, 1.0, 1.0)])
    text = write_report([run], tmp_path / "report")
    assert "0 of 1 attacks inside a certificate." in text
    assert (
        ": of certificates and attacks together, 3 images are left out that were certified and not "
        "attacked (such as 1, 2, 3); 2 images are left out that were attacked and not certified "
        "(such as 7, 9)."
    ) in text
    # Without any image of both there is no table, and still a line.
    (run / "attacked.tsv").unlink()
    _attacks(run / "attacked.tsv", [(7, 1, 2, 0.1, 0.1)])
    text = write_report([run], tmp_path / "report")
    assert "1 images are left out that were attacked and not certified (such as 7)" in text
    assert "tightness" not in text
    assert alarms_of([run]) == []


def test_images_of_both_sides_need_no_line(run, tmp_path):
    _attacks(run / "attacked.tsv", [(idx, 1, 2, 1.0, 1.5) for idx in range(4)])
    assert "left out" not in write_report([run], tmp_path / "report")


def test_attacks_inside_certificates_end_the_command_with_status_3(run, tmp_path):
    # An abstention inside contradicts nothing, another class does.
    _attacks(run / "attacked.tsv", [(0, 1, -1, 0.2, 0.6), (1, 1, 2, 0.3, 0.3), (3, 1, 2, 0.1, 0.1)])
    (alarm,) = alarms_of([run])
    assert "images 1, 3" in alarm
    ended = run_command("experiments.report", str(run), "--output_dir=r", cwd=tmp_path)
    assert ended.returncode == 3
    assert f"Wrote {tmp_path}/r/report.md" in ended.stdout
    assert "ALARM: 2 of 3" in ended.stderr
    assert "ALARM: 2 of 3" in (tmp_path / "r" / "report.md").read_text()


def test_attacks_on_something_else_are_refused_or_left_out(run):
    _attacks(run / "attacked.tsv", [(0, 1, 2, 0.1, 0.1)], classifier="base")
    assert alarms_of([run]) == []
    (run / "attacked.tsv").unlink()
    _attacks(run / "attacked.tsv", [(0, 1, 2, 0.1, 0.1)], model="other")
    with pytest.raises(ValueError, match="another classifier or other images"):
        alarms_of([run])


def test_certificates_of_a_cast_head_meet_attacks_on_the_same_head_only(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    rows = [(0, 1, 1, 0.5, 1.0, ["0/2", "0.25", "abc", "digits", "0.001", "bfloat16"])]
    columns = ["replaced", "sigma", "model", "data", "alpha", "head_dtype"]
    file(folder / "certified.tsv", columns, rows)
    _attacks(folder / "attacked.tsv", [(0, 1, 2, 0.1, 0.1)])
    text = write_report([folder], tmp_path / "report")
    assert "attacked.tsv attacks the smoothed classifier" in text
    assert "are about the smoothed, bfloat16 one" in text
    assert "tightness" not in text
    _attacks(folder / "attacked.cast.tsv", [(0, 1, 2, 0.1, 0.1)], head_dtype="bfloat16")
    text = write_report([folder], tmp_path / "report")
    assert "1 of 1 attacks inside a certificate" in text
    assert "attacked.tsv attacks the smoothed classifier" in text


@pytest.mark.parametrize(
    ("certified", "attacked", "said"),
    [
        ("exact", "float32", True),
        ("float32", "exact", True),
        ("exact", "exact", False),
        # Of one law.
        ("logits", "float32", False),
        ("float32", "float32", False),
        # A file that does not tell.
        (None, "float32", False),
    ],
)
def test_attacks_on_another_noise_than_was_certified_are_said_to_be(
    tmp_path, certified, attacked, said
):
    folder = tmp_path / "run"
    folder.mkdir()
    columns = ["replaced", "sigma", "model", "data", "alpha", "noise"]
    rows = [(0, 1, 1, 0.5, 1.0, ["0/2", "0.25", "abc", "digits", "0.001", certified or "-"])]
    file(folder / "certified.tsv", columns, rows)
    _attacks(folder / "attacked.tsv", [(0, 1, 2, 0.1, 0.1)], noise=attacked)
    text = write_report([folder], tmp_path / "report")
    told = f"The certificates are about noise={certified}, and attacks about noise={attacked}: "
    assert (told in text) == said
    # It excuses nothing.
    (alarm,) = alarms_of([folder])
    assert "ALARM: 1 of 1" in alarm and ("rounding" in alarm) == said


def test_a_row_in_a_shard_and_in_the_merged_file_is_one_attack(run):
    for name in ("attacked.tsv", "attacked.1of2.tsv"):
        _attacks(run / name, [(0, 1, 2, 1.0, 1.5)])
    _attacks(run / "attacked.fmn.tsv", [(0, 1, 2, 1.0, 1.5)], attack="fmn")
    (one,) = sandwiches({"run": read_run(run)})
    assert [attack.extra["attack"] for attack in one.attacks[0]] == ["ddn", "fmn"]


def test_legend_of_the_picture_covers_nothing_and_counts_the_images_of_each_run(run, tmp_path):
    _attacks(run / "attacked.tsv", [(idx, 1, 2, 1.0, 1.5) for idx in range(3)])
    whole = tmp_path / "whole"
    shutil.copytree(run, whole)
    (whole / "attacked.tsv").unlink()
    _attacks(whole / "attacked.tsv", [(idx, 1, 2, 1.0, 1.5) for idx in range(4)])
    names = {"of three": run, "of four": whole, **{f"more {i}": run for i in range(8)}}
    figure = plot_sandwiches(sandwiches({name: read_run(path) for name, path in names.items()}))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts[:2] == ["of three: 3 images", "of four: 4 images"]
    assert texts[10:] == ["certified", "under attack"]
    assert not legend.get_window_extent().overlaps(figure.axes[0].get_window_extent())
    assert figure.axes[0].get_window_extent().height > 300 * figure.dpi / 100
    write_report([run, whole], tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "are of different images (" in text and ": 3, " in text and ": 4), so that" in text
