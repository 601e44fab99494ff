import pytest

from experiments import report_writer
from experiments.run_directory import RunDirectory
from experiments.training_differences import differences_table
from lsrs_tf.records.summary import read_run
from tests.certification_files import file


@pytest.fixture
def run(tmp_path):
    """Returns a function that makes the folder of a run, and returns its path."""

    def made(name, **settings):
        folder = tmp_path / name
        folder.mkdir()
        if settings:
            RunDirectory(folder).claim(settings)
        file(folder / "certified.tsv", ["replaced"], [(0, 1, 1, 0.5, 1.0, ["9/18"])])
        return folder

    return made


def test_what_trainings_differ_in_is_told_and_nothing_else(run):
    first = run("first", sigma=0.25, seed=0, objective="gaussian")
    # A training of an earlier version, given by its file.
    second = run("second", sigma=0.25, seed=2) / "certified.tsv"
    unknown = run("unknown")
    table = differences_table([read_run(path) for path in (first, second, unknown)])
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]
    assert rows[0] == ["run", "seed", "objective"]
    assert rows[2:] == [[str(first), "0", "gaussian"], [str(second.parent), "2", "-"]]
    assert differences_table([read_run(path) for path in (first, unknown)]) == ""


def test_trainings_that_are_alike_are_named(run):
    runs = [read_run(run(name, sigma=0.25, seed=0)) for name in ("first", "second")]
    assert "second were trained with the same settings." in differences_table(runs)


def test_report_tells_it_where_certificates_have_the_same_settings(run, tmp_path):
    first, second = run("first", sigma=0.25, seed=0), run("second", sigma=0.25, seed=2)
    text = report_writer.write_report([first, second], tmp_path / "report")
    assert "| seed   |" in text
    assert "seed" not in report_writer.write_report([first], tmp_path / "report")
