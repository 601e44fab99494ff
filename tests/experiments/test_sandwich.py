import pytest

from experiments.report_writer import alarms_of, write_report
from lsrs_tf.records.attacks import AttackJournal, AttackRecord
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


def test_attacks_inside_certificates_end_the_command_with_status_3(run, tmp_path):
    # An abstention inside contradicts nothing, another class does.
    _attacks(run / "attacked.tsv", [(0, 1, -1, 0.2, 0.6), (1, 1, 2, 0.3, 0.3), (3, 1, 2, 0.1, 0.1)])
    (alarm,) = alarms_of([run])
    assert "images 1, 3" in alarm
    ended = run_command("experiments.report", str(run), f"--output_dir={tmp_path}/r")
    assert ended.returncode == 3
    assert "ALARM: 2 of 3" in ended.stderr
    assert "ALARM: 2 of 3" in (tmp_path / "r" / "report.md").read_text()


def test_attacks_on_something_else_are_refused_or_left_out(run):
    _attacks(run / "attacked.tsv", [(0, 1, 2, 0.1, 0.1)], classifier="base")
    assert alarms_of([run]) == []
    (run / "attacked.tsv").unlink()
    _attacks(run / "attacked.tsv", [(0, 1, 2, 0.1, 0.1)], model="other")
    with pytest.raises(ValueError, match="another classifier or other images"):
        alarms_of([run])
