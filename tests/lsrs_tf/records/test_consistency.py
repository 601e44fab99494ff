import dataclasses

import numpy as np
import pytest

from experiments import datasets
from experiments.certifying import certify_test_images
from lsrs_tf import models
from lsrs_tf.records import reading
from lsrs_tf.records.consistency import check_record
from lsrs_tf.smoothing.certification import make_certifier

KINDS = {
    "fixed": {},
    "runner_up": {"against": "runner_up"},
    "exact": {"noise": "exact"},
    "sequential": {"method": "sequential", "target_radii": [0.01, 0.3]},
    "tolerance": {"method": "sequential", "tolerance": 0.1},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("records"), models.convnet(width=4)
    logits = model.head.layers[-1]
    # Clear votes for class 3.
    logits.set_weights([logits.get_weights()[0], np.eye(10, dtype=np.float32)[3]])
    for name, kind in KINDS.items():
        certifier = make_certifier(model, n0=10, n=300, alpha=0.01, batch_size=64, **kind)
        data = datasets.load("digits")
        path = folder / f"{name}.tsv"
        certify_test_images(certifier, model, data, path, "2/4", [0, 3, 7, 9])
    return {name: reading.read(folder / f"{name}.tsv") for name in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_certified_agrees(files, kind):
    assert any(record.radius > 0 for record in files[kind])
    for record in files[kind]:
        check_record(record, "file.tsv")
        float(record.extra["p_lower"])


def _edited(record, **extra):
    return dataclasses.replace(record, extra={**record.extra, **extra})


def test_edited_votes_are_noticed(files):
    record = files["fixed"][0]
    zeros = ",".join("0" * 10)
    for counts in ("301," + zeros[2:], "-5," + zeros[2:], "9," * 8 + "1", "x," + zeros[2:]):
        with pytest.raises(ValueError, match="image 0 in file.tsv is damaged"):
            check_record(_edited(record, counts=counts), "file.tsv")


@pytest.mark.parametrize("kind", ["fixed", "runner_up", "exact", "sequential"])
def test_edited_radii_and_labels_are_noticed(files, kind):
    record = next(record for record in files[kind] if record.radius > 0)
    for change in ({"radius": record.radius + 0.001}, {"predict": (record.predict + 1) % 10}):
        with pytest.raises(ValueError, match="damaged"):
            check_record(dataclasses.replace(record, **change), "file.tsv")
    if kind != "sequential":
        check_record(dataclasses.replace(record, radius=record.radius / 2), "file.tsv")


def test_records_of_others_are_taken_as_they_are():
    record = reading.Record(0, 1, 1, 9.0, True, 1.0, {"sigma": "0.25"})
    check_record(record, "file.tsv")
