import fractions
import math

import numpy as np
import pytest

from lsrs_tf.records.summary import read_run
from tests.certification_files import file

NAMES = ["replaced", "sigma", "n", "alpha", "noise", "samples", "clean"]
ROWS = [
    (0, 1, 1, 0.5, 2.0, ["9/18", "0.25", "100", "0.01", "exact", "110", "1"]),
    (1, 2, -1, 0.0, 4.0, ["9/18", "0.25", "100", "0.01", "exact", "60", "1"]),
]


def test_figures_are_those_of_the_rows(tmp_path):
    run = read_run(file(tmp_path / "file.tsv", NAMES, ROWS))
    assert run.radii.tolist() == [0.5, 0.0]
    assert run.correct.tolist() == [True, False]
    assert run.seconds == 3.0
    assert run.samples.tolist() == [110, 60]
    assert run.clean_accuracy == fractions.Fraction(1, 2)
    assert run.class_probabilities is None
    assert (run.replaced, run.defense, run.sigma) == ("9/18", "LS-RS", "0.25")
    assert run.certificates == "n 100, alpha 0.01, exact noise"
    assert run.name == "LS-RS 9/18, sigma 0.25"


def test_what_a_file_does_not_tell_is_unknown(tmp_path):
    rows = [(0, 1, 1, 0.5, 2.0), (1, 1, 1, 0.5, math.nan)]
    run = read_run(file(tmp_path / "file.tsv", [], rows))
    assert (run.replaced, run.defense, run.sigma, run.certificates) == ("-", "-", "-", "-")
    assert run.seconds is run.samples is run.clean_accuracy is run.class_probabilities is None


def test_sigma_per_image_varies(tmp_path):
    rows = [(idx, 1, 1, 0.5, 1.0, [sigma]) for idx, sigma in enumerate(np.linspace(0.1, 1, 300))]
    run = read_run(file(tmp_path / "file.tsv", ["sigma"], rows))
    assert run.sigma == "varies"
    rows = [(idx, 1, 1, 0.5, 1.0, [f"{idx}/9", idx, 0.01]) for idx in range(3)]
    run = read_run(file(tmp_path / "file.tsv", ["replaced", "n", "alpha"], rows))
    assert run.defense == "-"
    assert run.certificates == "n varies, alpha 0.01"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("sigma_0.25", "sigma_0.25"),
        ("sigma_0.25.tsv", "sigma_0.25"),
        ("sigma_0.25.txt", "sigma_0.25"),
        ("sigma_0.25.tsv.gz", "sigma_0.25"),
        ("sigma_0.25.gz", "sigma_0.25"),
        ("cohen", "cohen"),
        ("my.runs.v2", "my.runs.v2"),
        (".tsv", ".tsv"),
    ],
)
def test_names_keep_their_dots(tmp_path, given, name):
    file(tmp_path / given, [], [(0, 1, 1, 0.5, 1.0)])
    assert read_run(tmp_path / given).name == name


def test_folder_gives_its_name(tmp_path, monkeypatch):
    folder = tmp_path / "sigma_0.25"
    folder.mkdir()
    file(folder / "certified.tsv", [], [(0, 1, 1, 0.5, 1.0)])
    assert read_run(folder).name == "sigma_0.25"
    monkeypatch.chdir(folder)
    assert read_run(".").name == "sigma_0.25"


def test_votes_of_others_make_no_table_fail(tmp_path):
    rows = [(0, 1, 1, 0.5, 1.0, ["1,9", "1,9,0"]), (1, 1, 1, 0.5, 1.0, ["-", "1,9,0"])]
    run = read_run(file(tmp_path / "file.tsv", ["selection_counts", "counts"], rows))
    assert run.class_probabilities is None


@pytest.mark.parametrize(
    ("columns", "settings", "samples"),
    [
        (["method", "n"], ["fixed", 40], 40),
        (["method", "n0", "samples"], ["sequential", 10, 60], 50),
        (["method", "n0", "samples", "tolerance"], ["sequential", 10, 60, 0.1], 20),
        ([], [], 20),
    ],
)
def test_samples_without_a_vote_count_against_the_class(tmp_path, columns, settings, samples):
    path = tmp_path / "file.tsv"
    header = ["idx", "label", "predict", "radius", "correct", "time", *columns]
    row = [0, 1, -1, 0.0, 0, 1.0, *settings]
    lines = [[*header, "selection_counts", "counts"], [*row, "1,9", "8,12"]]
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
    np.testing.assert_allclose(read_run(path).class_probabilities, [12 / samples])


def test_file_without_an_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no certified image"):
        read_run(file(tmp_path / "file.tsv", [], []))


def test_costs_are_those_of_encoder_and_samples(tmp_path):
    names = ["method", "multiply_adds_per_image", "multiply_adds_per_sample", "samples"]

    def costs(*rows):
        rows = [(idx, 1, 1, 0.5, 1.0, row) for idx, row in enumerate(rows)]
        run = read_run(file(tmp_path / "file.tsv", names, rows))
        return run.multiply_adds_per_sample, run.multiply_adds

    assert costs(["sequential", "1000", "7", "100"], ["sequential", "1000", "7", "50"]) == (7, 1525)
    assert costs(["margin", "1000", "-", "-"]) == (None, 1000)
    for unknown in (
        ["fixed", "-", "7", "100"],
        ["fixed", "9", "-", "100"],
        ["fixed", "9", "7", ""],
    ):
        assert costs(unknown)[1] is None
    # Other packages may have rows of several models in a file.
    assert costs(["fixed", "9", "7", "100"], ["fixed", "9", "8", "100"]) == (None, None)


def test_file_of_an_earlier_version_has_unknown_costs(tmp_path):
    run = read_run(file(tmp_path / "file.tsv", NAMES, ROWS))
    assert run.multiply_adds_per_sample is run.multiply_adds is None
