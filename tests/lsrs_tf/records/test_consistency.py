import dataclasses
import time

import numpy as np
import pytest

from experiments import datasets
from experiments.certified_test_set import certify_test_images
from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.records import reading
from lsrs_tf.records.consistency import check, check_settings
from lsrs_tf.records.schema import Record
from lsrs_tf.statistics.radius_scale import RadiusScale

KINDS = {
    "fixed": {},
    "runner_up": {"against": "runner_up"},
    "exact": {"noise": "exact"},
    "shared": {"images_per_draw": 4},
    "sequential": {"method": "sequential", "target_radii": [0.01, 0.1, 0.3]},
    "tolerance": {"method": "sequential", "tolerance": 0.1},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("records"), models.convnet(width=4)
    logits = model.head.layers[-1]
    # Clear votes for class 3.
    logits.set_weights([logits.get_weights()[0], np.eye(10, dtype=np.float32)[3]])
    for name, kind in KINDS.items():
        certifier = Certifier(model, n0=10, n=300, alpha=0.01, batch_size=64, **kind)
        data = datasets.load("digits")
        path = folder / f"{name}.tsv"
        certify_test_images(certifier, model, data, path, "2/4", list(range(0, 60, 3)))
    return {name: reading.read(folder / f"{name}.tsv") for name in KINDS}


def _edited(record, **extra):
    return dataclasses.replace(record, extra={**record.extra, **extra})


def _certified(records):
    return next(record for record in records if record.radius > 0)


def _refused(record, match):
    with pytest.raises(ValueError, match=match):
        check(record)


def _row(radius, counts, samples, **extra):
    """A sequential row at sigma 0.25 that selected class 1, with p_lower as it should be."""
    p0 = RadiusScale(0.25, 1.0).probability_needed(radius) if radius else 0.0
    settings = {
        "method": "sequential",
        "target_radii": "0.25,0.5",
        "tolerance": "-",
        "sigma": "0.25",
        "n0": "10",
        "n": "1000",
        "alpha": "0.001",
        "lipschitz": "1.0",
        "p_lower": repr(p0),
        "samples": str(samples),
        "selection_counts": "1,9",
        "counts": counts,
    }
    predict = 1 if radius else -1
    return Record(0, 1, predict, radius, predict == 1, 1.0, {**settings, **extra})


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_certified_agrees(files, kind):
    assert any(record.radius > 0 for record in files[kind])
    for record in files[kind]:
        check(record)


@pytest.mark.parametrize("kind", KINDS)
def test_votes_must_be_possible(files, kind):
    record = _certified(files[kind])
    zeros = ",".join("0" * 10)
    for counts in ("301," + zeros[2:], "-5," + zeros[2:], "9," * 8 + "1", "x," + zeros[2:], "-"):
        _refused(_edited(record, counts=counts), "votes|whole number")
    _refused(_edited(record, selection_counts="11," + zeros[2:]), "votes .* from 10 samples")


@pytest.mark.parametrize("kind", KINDS)
def test_radius_must_follow_from_votes(files, kind):
    record = _certified(files[kind])
    for radius in (record.radius + 1e-5, record.radius - 1e-5, record.radius / 2, 7.0, 9.0):
        _refused(dataclasses.replace(record, radius=radius), "claims radius")


@pytest.mark.parametrize("kind", KINDS)
def test_class_must_follow_from_votes(files, kind):
    record = _certified(files[kind])
    _refused(dataclasses.replace(record, predict=(record.predict + 1) % 10), "claims")
    _refused(dataclasses.replace(record, predict=-1, radius=0.0), "claims an abstention")


@pytest.mark.parametrize("kind", KINDS)
def test_p_lower_must_follow_from_votes(files, kind):
    record = _certified(files[kind])
    p_lower = float(record.extra["p_lower"])
    check(_edited(record, p_lower=repr(p_lower * (1 + 1e-12))))
    for text in (repr(p_lower * (1 + 1e-6)), repr(p_lower * (1 - 1e-6)), "0.0", "0.99", "-"):
        _refused(_edited(record, p_lower=text), "claims")


@pytest.mark.parametrize("kind", ["fixed", "runner_up", "exact", "shared", "tolerance"])
def test_counts_edited_upwards_contradict_p_lower(files, kind):
    for record in files[kind]:
        selection, counts = record.votes
        label = int(selection.argmax())
        other = int(np.argmax(np.where(np.arange(10) == label, -1, counts)))
        if counts[other] == 0:
            continue
        counts[label] += 1
        counts[other] -= 1
        # For images without a certificate, too.
        _refused(_edited(record, counts=",".join(map(str, counts))), "but it claims")


@pytest.mark.parametrize("kind", KINDS)
def test_edited_settings_contradict_the_row(files, kind):
    record = _certified(files[kind])
    edits = {"sigma": "0.5", "lipschitz": "0.9", "alpha": "0.05", "n": "200"}
    # How many samples are taken may be the same for others of these.
    edits = {name: edits[name] for name in [*edits][: {"sequential": 2, "tolerance": 3}.get(kind)]}
    for name, text in edits.items():
        _refused(_edited(record, **{name: text}), None)
    for name in ("alpha", "sigma", "lipschitz", "n"):
        for text in ("0", "-1", "nan", "inf", "-", "", "x", "1e999"):
            _refused(_edited(record, **{name: text}), f"column {name}")
    _refused(_edited(record, radius_loss="-1"), "column radius_loss")
    _refused(_edited(record, method="median"), "column method")
    _refused(_edited(record, against="nobody"), "column against")


def test_samples_of_a_fixed_number_are_those_of_its_settings(files):
    _refused(_edited(files["fixed"][0], samples="311"), "samples is 311, but n0 and n")


def test_sequential_row_must_follow_from_its_votes():
    check(_row(0.5, "0,380", 390))
    for radius in (0.25, 0.5):
        for counts in ("0,0", "11,9", "20,0", "9,11"):
            _refused(_row(radius, counts, 30), "cannot have decided")
    # Too few votes for the radius, enough for a smaller one.
    _refused(_row(0.5, "20,360", 390), "cannot have decided")
    # An abstention although all votes agree.
    _refused(_row(0.0, "0,380", 390), "cannot have decided")
    # The end of the tests at which both radii were certified long before.
    _refused(_row(0.5, "0,1000", 1010), "cannot have decided")


def test_sequential_row_ends_at_a_look():
    for samples in (389, 391, 10, 0, 1030):
        _refused(_row(0.5, "0,0", samples), "not a number at which its tests decide")
    _refused(_row(0.5, "1,380", 390), "votes .* cannot come from 380 samples")


def test_sequential_row_claims_one_of_its_target_radii():
    for radius in (0.3, 0.499999, 0.500001, 0.75, 9.0):
        _refused(_row(radius, "0,380", 390), "none of its target radii")
    # The p0 of another radius.
    _refused(_row(0.5, "0,380", 390, p_lower=_row(0.25, "", 0).extra["p_lower"]), "none of its")


def test_sequential_row_may_have_votes_for_no_class():
    # What is certified at the look of 140 samples had not been at that of 120.
    check(_row(0.25, "0,116", 150))
    _refused(_row(0.25, "0,115", 150), "cannot have decided")
    _refused(_row(0.25, "0,135", 150), "cannot have decided")
    check(_row(0.0, "0,0", 30))


def test_tolerance_row_must_follow_from_its_votes(files):
    record = _certified(files["tolerance"])
    _refused(dataclasses.replace(record, radius=7.0), "claims radius 7")
    for samples in ("10", "111", "9999999", "-"):
        _refused(_edited(record, samples=samples), None)
    # Votes of one more sample than the estimate had.
    counts = record.votes[1]
    counts[0] += 300 - counts.sum() + 1
    _refused(_edited(record, counts=",".join(map(str, counts))), "no plan|but it claims")


def test_huge_settings_end_at_once():
    start = time.monotonic()
    huge = str(2**63 - 1)
    _refused(_row(0.5, "0,380", 390, n=huge), "no sequential test")
    _refused(_row(0.5, "0,380", 390, alpha="1e-320"), "no sequential test")
    for row in (
        _row(0.5, "0,380", 390, n=huge, target_radii="-", tolerance="0.1"),
        _row(0.5, "0,400", huge, method="fixed"),
        _row(0.5, "0,380", 390, lipschitz="1e-300"),
        _row(0.5, "0,380", 390, lipschitz="1e300", sigma="1e-300"),
        _row(0.5, "0,380", 390, target_radii="1e-300,1e300"),
    ):
        _refused(row, None)
    assert time.monotonic() - start < 5


def test_records_of_others_are_taken_as_they_are():
    check(Record(0, 1, 1, 9.0, True, 1.0, {"sigma": "0.25"}))
    check(Record(0, 1, 1, 9.0, True, 1.0, {"sigma": "x", "counts": "1,2", "n": "3"}))


def test_settings_of_rows_with_votes_agree():
    rows = [_row(0.5, "0,380", 390, sigma=str(value)) for value in range(300)]
    with pytest.raises(ValueError, match="sigma is '0', '1', '10' and 297 more") as error:
        check_settings(rows)
    assert len(str(error.value)) < 200
    check_settings(rows[:1])
    check_settings([])
    others = [Record(0, 1, 1, 9.0, True, 1.0, {"sigma": str(value)}) for value in range(300)]
    check_settings(others)
