import numpy as np
import pytest

import lsrs_tf
from experiments import datasets
from experiments.estimated_test_set import estimate_test_images
from experiments.report_writer import write_report
from lsrs_tf import models
from lsrs_tf.records.attacks import AttackJournal, AttackRecord
from lsrs_tf.records.estimates import EstimateJournal, EstimateRecord, read_estimates
from lsrs_tf.records.reading import read
from tests.certification_files import file

SETTINGS = {"estimate_radius": 1.0, "maxima": 10, "gradients_per_maximum": 4, "seed": 3}


@pytest.fixture(scope="module")
def model():
    return models.convnet(width=2)


def _estimate(model, path, indices, **changed):
    estimate_test_images(model, datasets.load("digits"), path, indices, {**SETTINGS, **changed})


def test_rows_are_those_of_the_library_resume_and_refuse_other_settings(model, tmp_path):
    path = tmp_path / "estimated.tsv"
    _estimate(model, path, [3])
    _estimate(model, path, [0, 3, 7])
    records = read_estimates(path)
    assert [record.idx for record in records] == [0, 3, 7]
    images = np.stack([image for image, _ in datasets.load("digits").test([0, 3, 7])])
    result = lsrs_tf.clever(
        model, images, radius=1.0, maxima=10, gradients_per_maximum=4, seed=3, verbose=0
    )
    assert [record.estimate for record in records] == result.estimates.tolist()
    assert [record.clean for record in records] == result.labels.tolist()
    for record in records:
        assert (record.distance == 0) == (record.clean != record.label)
    with pytest.raises(FileExistsError, match="maxima=10 before, 11 now"):
        _estimate(model, path, [0, 3, 7], maxima=11)
    # Estimates are never taken for radii.
    with pytest.raises(ValueError, match="lacks predict, radius"):
        read(path)


@pytest.mark.parametrize("value", ["nan", "-0.5", "inf", "x", ""])
def test_damaged_rows_are_refused(model, tmp_path, value):
    path = tmp_path / "estimated.tsv"
    _journal(path, [(0, 1, 0.7)])
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    rows[1][3] = value
    path.write_text("".join("\t".join(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match="Line 2 .* column estimate"):
        read_estimates(path)


def _journal(path, rows, **settings):
    with EstimateJournal(path, {**SETTINGS, "model": "abc", "data": "digits", **settings}) as one:
        for idx, clean, estimate in rows:
            extra = {"fitted": True, "image_fingerprint": None}
            one.add(EstimateRecord(idx, 1, clean, estimate, 1.0, extra))


@pytest.fixture
def run(tmp_path):
    """A folder of certificates of the base classifier, and of attacks on it."""
    folder = tmp_path / "run"
    folder.mkdir()
    rows = [(idx, 1, 1, 0.5, 1.0, ["0/2", "margin", "abc", "digits"]) for idx in range(2)]
    file(folder / "certified.tsv", ["replaced", "method", "model", "data"], rows)
    attacks = {"data": "digits", "attack": "ddn", "classifier": "base", "model": "abc"}
    with AttackJournal(folder / "attacked.tsv", attacks) as journal:
        for idx in range(2):
            extra = {"note": None, "image_fingerprint": None}
            journal.add(AttackRecord(idx, 1, 2, 1.0, 1.0, 1, 1.0, extra))
    return folder


def test_report_shows_estimates_between_the_bounds(run, tmp_path):
    _journal(run / "estimated.tsv", [(0, 1, 0.7), (1, 2, 0.9), (9, 1, 0.1)])
    text = write_report([run], tmp_path / "report")
    assert "median CLEVER (estimate)" in text
    # One of two images is wrong without any change.
    assert " 0.350 " in text
    lines = (tmp_path / "report" / "sandwich.csv").read_text().splitlines()
    assert lines[0] == "run,idx,certified_radius,clever_estimate,attack_distance,changed_distance"
    assert lines[1].endswith(",0,0.5,0.7,1.0,1.0")
    assert lines[2].endswith(",1,0.5,0.0,1.0,1.0")


def test_estimates_of_some_images_say_of_how_many(run, tmp_path):
    _journal(run / "estimated.1of2.tsv", [(1, 1, 0.7)])
    assert " 0.700 of 1 " in write_report([run], tmp_path / "report")


def test_estimates_of_something_else_are_refused(run, tmp_path):
    _journal(run / "estimated.tsv", [(0, 1, 0.7)], model="other")
    with pytest.raises(ValueError, match="another classifier or other images"):
        write_report([run], tmp_path / "report")
    _journal(run / "estimated.other.tsv", [(0, 1, 0.7)])
    (run / "estimated.tsv").unlink()
    _journal(run / "estimated.tsv", [(0, 1, 0.8)])
    with pytest.raises(ValueError, match="another estimate of image 0"):
        write_report([run], tmp_path / "report")


def test_estimates_next_to_certificates_of_the_smoothed_classifier_are_left_out(tmp_path):
    rows = [(0, 1, 1, 0.5, 1.0, ["0/2", "0.25", "abc"])]
    file(tmp_path / "certified.tsv", ["replaced", "sigma", "model"], rows)
    _journal(tmp_path / "estimated.tsv", [(0, 1, 0.7)])
    assert "Left out:" in write_report([tmp_path], tmp_path / "report")
