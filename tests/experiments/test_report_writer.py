import csv
import fractions
import re

import pytest

from experiments import report_writer
from lsrs_tf.records import schema
from lsrs_tf.records.summary import read_run
from tests.certification_files import file


def _compact(table):
    """A table without the spaces that align its columns."""
    return re.sub(r" +\|", " |", re.sub(r"\| +", "| ", re.sub(r"-{3,}", "---", table)))


def _paper_table(*arguments):
    return _compact(report_writer.paper_table(*arguments))


def _radius_table(*arguments, **options):
    return _compact(report_writer.radius_table(*arguments, **options))


def _write_report(*arguments):
    return _compact(report_writer.write_report(*arguments))


def _file(path, replaced, rows):
    return file(path, ["replaced", "sigma"], [(*row, [replaced, "0.25"]) for row in rows])


@pytest.fixture
def files(tmp_path):
    latent = _file(
        tmp_path / "ls.tsv",
        "9/18",
        [(0, 1, 1, 0.5, 2.0), (1, 2, 1, 0.9, 4.0), (2, 3, -1, 0.0, 3.0), (3, 4, 4, 0.25, 3.0)],
    )
    run = tmp_path / "run"
    run.mkdir()
    _file(run / "certified.tsv", "0/18", [(0, 1, 1, 0.75, 8.0)])
    return latent, run


def test_table_has_the_papers_columns(files):
    table = _paper_table([read_run(path) for path in files]).splitlines()
    assert table[0].startswith(
        "| defense | classifier | sigma | replaced | ACR | accuracy (%) | time (s/example) |"
    )
    assert table[2] == (
        "| LS-RS | smoothed | 0.25 | 9/18 | 0.187 | 50.00 | 3.000 | - | 25.00 "
        "| - | - | - | - | 4 | - |"
    )
    assert table[3] == (
        "| IS-RS | smoothed | 0.25 | 0/18 | 0.750 | 100.00 | 8.000 | - | 0.00 "
        "| - | - | - | - | 1 | - |"
    )


def test_clean_accuracy_is_that_of_the_base_classifier(tmp_path):
    path = tmp_path / "certified.tsv"
    rows = [(0, 4, 4, 0.5, [4]), (1, 4, -1, 0.0, [4]), (2, -1, -1, 0.0, [-1]), (3, 1, 1, 0.1, [2])]
    file(path, ["clean"], [(*row[:4], 1.0, row[4]) for row in rows])
    assert read_run(path).clean_accuracy == fractions.Fraction(2, 4)
    assert "| 1.000 | 50.00 | 50.00 |" in _paper_table([read_run(path)])


def test_radii_go_from_zero_beyond_the_largest(files):
    table = _radius_table([read_run(path) for path in files]).splitlines()
    assert table[0] == ("| certified accuracy (%) at radius | 0.00 | 0.25 | 0.50 | 0.75 | 1.00 |")
    assert table[2] == "| LS-RS 9/18, sigma 0.25 | 50.0 | 50.0 | 25.0 | 0.0 | 0.0 |"


def test_report_is_written_whole(files, tmp_path):
    text = _write_report(files, tmp_path / "report")
    written = _compact((tmp_path / "report" / "report.md").read_text())
    assert text in written
    assert "(certified_accuracy.png)" in written
    png = (tmp_path / "report" / "certified_accuracy.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    lines = (tmp_path / "report" / "certified_accuracy.csv").read_text().splitlines()
    assert lines[0] == "run,radius,certified_accuracy,lower,upper"
    assert lines[1].startswith('"LS-RS 9/18, sigma 0.25",0,0.500000,0.067')
    assert not (tmp_path / "report" / "class_probabilities.png").exists()


def test_votes_are_drawn_and_samples_counted(tmp_path):
    path = tmp_path / "certified.tsv"
    extra = ["n0", "samples", "selection_counts", "counts"]
    rows = [
        (0, 1, 1, 0.5, 1.0, [10, 110, "1,9", "20,80"]),
        (1, 1, -1, 0.0, 1.0, [10, 60, "6,4", "25,25"]),
    ]
    file(path, extra, rows)
    run = read_run(path)
    assert run.class_probabilities.tolist() == [0.8, 0.5]
    assert "| 50.00 | 85 | - | - | - | 2 |" in _paper_table([run])
    assert "class_probabilities.png" not in _write_report([path], tmp_path / "report")
    assert (tmp_path / "report" / "class_probabilities.png").stat().st_size > 1000
    assert "(class_probabilities.png)" in (tmp_path / "report" / "report.md").read_text()


def test_file_of_another_package_has_unknown_columns(tmp_path):
    path = tmp_path / "cohen"
    file(path, [], [(0, 3, 3, 0.428, 15.132)])
    run = read_run(path)
    assert (run.defense, run.sigma, run.replaced, run.name) == ("-", "-", "-", "cohen")
    assert "| - | - | - | 0.428 |" in _paper_table([run])


def test_equal_names_are_told_apart(files, tmp_path):
    copy = tmp_path / "copy.tsv"
    copy.write_text(files[0].read_text())
    names = report_writer._distinct_names([read_run(path) for path in (files[0], copy)])
    assert list(names) == [f"LS-RS 9/18, sigma 0.25 ({path})" for path in (files[0], copy)]


def test_files_tell_runs_apart_that_their_settings_do_not(tmp_path):
    paths = []
    for name, alpha in [("one", "0.001"), ("two", "0.001"), ("three", "0.01")]:
        columns = ["replaced", "sigma", "alpha"]
        path = file(tmp_path / name, columns, [(0, 1, 1, 0.5, 1.0, ["9/18", "0.25", alpha])])
        paths.append(path)
    names = report_writer._distinct_names([read_run(path) for path in paths])
    assert list(names) == [f"LS-RS 9/18, sigma 0.25 ({path})" for path in paths]


def test_figures_are_rounded_down(tmp_path):
    rows = [(idx, 1, 1, 0.2496, 1.0) for idx in range(2999)] + [(2999, 1, 2, 0.3, 1.0)]
    run = read_run(_file(tmp_path / "file.tsv", "9/18", rows))
    assert "| 0.249 | 99.96 |" in _paper_table([run])
    assert "| 99.9 | 0.0 |" in _radius_table([run])
    exact = _file(tmp_path / "exact.tsv", "9/18", [(0, 1, 1, 0.25, 1.0), (1, 1, 1, 0.5, 1.0)])
    assert "| 0.375 | 100.00 |" in _paper_table([read_run(exact)])


def test_sigma_that_varies_is_told_in_the_table(tmp_path):
    path = file(
        tmp_path / "file.tsv",
        ["replaced", "sigma"],
        [(idx, 1, 1, 0.3, 1.0, ["9/18", idx / 300]) for idx in range(300)],
    )
    assert "| LS-RS | smoothed | varies | 9/18 | 0.300 |" in _paper_table([read_run(path)])
    assert "| LS-RS 9/18, sigma varies |" in _radius_table([read_run(path)])


def test_time_that_is_unknown_is_no_figure(tmp_path):
    path = file(tmp_path / "file.tsv", [], [(0, 1, 1, 0.3, 1.0), (1, 1, 1, 0.3, float("nan"))])
    assert "| 0.300 | 100.00 | - |" in _paper_table([read_run(path)])


def test_file_that_is_given_twice_is_refused(tmp_path):
    path = _file(tmp_path / "certified.tsv", "9/18", [(0, 1, 1, 0.3, 1.0)])
    with pytest.raises(ValueError, match="certified.tsv is given more than once"):
        _write_report([path, tmp_path], tmp_path / "report")


def test_huge_radius_makes_no_huge_table(tmp_path):
    path = _file(tmp_path / "file.tsv", "9/18", [(0, 1, 1, 1e15, 1.0), (1, 1, 1, 1.0, 1.0)])
    _write_report([path], tmp_path / "report")
    assert len((tmp_path / "report" / "report.md").read_text()) < 10_000
    assert len((tmp_path / "report" / "certified_accuracy.csv").read_text()) < 1_000_000


def test_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.tsv"
    file(path, [], [])
    with pytest.raises(ValueError, match="no certified image"):
        read_run(path)


def test_runs_of_other_settings_are_told_apart(tmp_path):
    paths = []
    for alpha in ("0.001", "0.01"):
        path = tmp_path / f"{alpha}.tsv"
        names = ["replaced", "sigma", "n", "alpha", "against"]
        file(path, names, [(0, 1, 1, 0.5, 1.0, ["9/18", "0.25", "100", alpha, "runner_up"])])
        paths.append(path)
    _write_report(paths, tmp_path / "report")
    with (tmp_path / "report" / "summary.csv").open(newline="") as summary:
        rows = list(csv.DictReader(summary))
    assert [row["certificates"] for row in rows] == [
        f"n 100, alpha {alpha}, against the runner-up" for alpha in ("0.001", "0.01")
    ]
    text = _compact((tmp_path / "report" / "report.md").read_text())
    assert "LS-RS 9/18, sigma 0.25, n 100, alpha 0.01, against the runner-up |" in text


def test_rows_that_settings_do_not_tell_apart_have_the_names_of_their_runs(files, tmp_path):
    latent, run = files
    other = _file(tmp_path / "other.tsv", "0/18", [(0, 1, 1, 0.5, 8.0)])
    table = _paper_table([read_run(path) for path in (latent, run, other)]).splitlines()
    assert table[0].startswith("| run | defense | classifier |")
    assert [row.split(" | ")[0] for row in table[2:]] == [f"| {latent}", f"| {run}", f"| {other}"]
    _write_report([latent, run], tmp_path / "report")
    with (tmp_path / "report" / "summary.csv").open(newline="") as summary:
        assert [row["run"] for row in csv.DictReader(summary)] == [str(latent), str(run)]


def _costly_file(path, method, radii, once, sample, samples):
    names = ["replaced", "sigma", "method", *schema.COSTS, "samples"]
    extra = ["9/18" if method == "fixed" else "net", "0.25", method, once, sample, samples]
    return file(path, names, [(idx, 1, 1, at, 1.0, extra) for idx, at in enumerate(radii)])


def test_costs_are_told_and_drawn(tmp_path):
    costly = _costly_file(tmp_path / "costly.tsv", "fixed", [0.5, 0.7], 10**9, 268_000_000, 100_100)
    margin = _costly_file(tmp_path / "margin.tsv", "margin", [0.1, 0.2], 7_430_000, "-", "-")
    older = file(tmp_path / "older.tsv", ["replaced"], [(0, 1, 1, 0.9, 1.0, ["0/18"])])
    report = tmp_path / "report"
    table = _write_report([costly, margin, older], report, 0.6)
    # 100,100 samples of 268 M and one G are 26.8278 T; ACR .6 and .15 are rounded down.
    assert "| 100100 | 268 M | 26.8 T | 0.0223 | 2 |" in table
    assert "| - | - | 7.43 M | 20.1 k | 2 |" in table
    assert "| - | - | - | - | 1 |" in table
    assert (report / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert "(cost.png)" in (report / "report.md").read_text()
    with (report / "cost.csv").open(newline="") as rows:
        first, second = csv.DictReader(rows)
    assert first["run"].startswith("margin net")
    assert second["multiply_adds_per_certificate"] == str(10**9 + 100_100 * 268_000_000)
    assert second["certified_accuracy_at_0.6"] == "0.500000"
    assert (first["on_front_of_radius"], second["on_front_of_accuracy"]) == ("1", "1")


def test_one_cost_makes_no_picture(tmp_path):
    costly = _costly_file(tmp_path / "costly.tsv", "fixed", [0.5], 10, 20, 100)
    older = file(tmp_path / "older.tsv", ["replaced"], [(0, 1, 1, 0.9, 1.0, ["0/18"])])
    # A network without products has no place on a logarithmic scale.
    free = _costly_file(tmp_path / "free.tsv", "margin", [0.1], 0, "-", "-")
    table = _write_report([costly, older, free], tmp_path / "report")
    assert "| - | 0 | - | 1 |" in table
    assert not (tmp_path / "report" / "cost.png").exists()


@pytest.mark.parametrize("radius", [-0.1, float("nan"), float("inf")])
def test_radius_of_costs_is_checked(files, tmp_path, radius):
    with pytest.raises(ValueError, match="--cost_radius must be an L2 radius"):
        _write_report(files, tmp_path / "report", radius)


def test_radius_of_an_accuracy_is_not_rounded(tmp_path):
    costs = ["multiply_adds_per_image", "multiply_adds_per_sample", "samples"]
    for name in ("a", "b"):
        file(tmp_path / f"{name}.tsv", costs, [(0, 1, 1, 0.4999996, 1.0, [10, 10, 10])])
    paths = [tmp_path / "a.tsv", tmp_path / "b.tsv"]
    report_writer.write_report(paths, tmp_path / "report", cost_radius=0.4999996)
    header = (tmp_path / "report" / "cost.csv").read_text().splitlines()[0]
    assert "certified_accuracy_at_0.4999996," in header
