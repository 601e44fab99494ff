import numpy as np
import pytest

import lsrs_tf
from experiments import datasets
from experiments.certified_test_set import certify_test_images
from experiments.recertify import recertify_file
from experiments.report_writer import write_report
from lsrs_tf import models
from lsrs_tf.records.merging import merge
from lsrs_tf.records.reading import read, read_table
from lsrs_tf.records.summary import read_run


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A certification file by margins, of ten digits."""
    model = models.convnet(width=4, num_classes=10, sigma=0.0)
    path = tmp_path_factory.mktemp("margins") / "certified.tsv"
    certifier = lsrs_tf.Certifier(model, method="margin")
    indices = list(range(0, 100, 10))
    certify_test_images(certifier, model, datasets.load("digits"), path, "2/4", indices)
    return path


def test_a_file_says_what_it_is_about(file):
    records = read(file)
    assert len(records) == 10
    for record in records:
        assert record.value("method") == "margin"
        assert record.value("n") is None and record.value("alpha") is None
        logits = record.value("logits")
        assert record.predict in (-1, logits.argmax())
        assert record.value("margin") <= np.ptp(logits)
    run = read_run(file)
    assert run.defense == "margin" and run.certificates == "certain, no samples"
    assert (
        run.name == "margin 2/4, base classifier" and run.classifier == "base" and run.sigma == "-"
    )
    assert run.samples is None and run.class_probabilities is None
    assert run.clean_accuracy is not None


def test_it_is_resumed_reported_and_merged(file, tmp_path):
    text = file.read_text().splitlines(keepends=True)
    first, second = tmp_path / "1.tsv", tmp_path / "2.tsv"
    first.write_text("".join(text[:6]))
    second.write_text("".join([text[0], *text[6:]]))
    merge([first, second], tmp_path / "merged.tsv", range(0, 100, 10))
    assert (tmp_path / "merged.tsv").read_text() == file.read_text()
    assert "| margin 2/4" in write_report([file], tmp_path / "report")


def test_there_is_nothing_to_recertify(file, tmp_path):
    with pytest.raises(ValueError, match="certain: there is no alpha to change, and nothing to do"):
        recertify_file(file, tmp_path / "other.tsv", alpha=0.01)


def _edited(file, tmp_path, edit):
    table = read_table(file)
    row = next(
        dict(zip(table.header, row, strict=True)) for row in table.rows if float(row[3]) > 1e-4
    )
    edit(row)
    path = tmp_path / "edited.tsv"
    path.write_text("\t".join(table.header) + "\n" + "\t".join(row.values()) + "\n")
    return path


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda row: row.update(radius=f"{float(row['radius']) * 1.01 + 1e-6:.6f}"), "proves"),
        (lambda row: row.update(pair_lipschitz="1e-9"), ""),
        (lambda row: row.update(pair_lipschitz="1e9"), "sqrt\\(2\\) times lipschitz"),
        (lambda row: row.update(margin=repr(float(row["margin"]) * 2)), "have margin"),
        (lambda row: row.update(rival=row["predict"]), "cannot be the rival"),
        (lambda row: row.update(rival="99"), "names classes"),
        (lambda row: row.update(logits="-"), "needs a value in column logits"),
        (lambda row: row.update(logits="0.5,x"), "column logits must be a finite number"),
        (lambda row: row.update(predict="-1", correct="0"), "abstention with radius"),
        (lambda row: row.update(logits=",".join(["0"] * 10)), "not that of the largest"),
        (lambda row: row.update(radius_loss="1e9"), "proves radius 0.000000 at most"),
        (lambda row: row.update(radius_loss="-1"), "radius_loss must be at least 0"),
        (lambda row: row.update(radius_loss="-"), "needs a value in column radius_loss"),
    ],
)
def test_edited_rows_are_noticed(file, tmp_path, edit, message):
    path = _edited(file, tmp_path, edit)
    if message:
        with pytest.raises(ValueError, match=message):
            read(path)
    else:
        # A smaller constant only allows more than the row claims.
        assert len(read(path)) == 1


def test_the_right_label_is_not_that_of_another_class(file, tmp_path):
    def edit(row):
        other = (int(row["predict"]) + 1) % 10
        row.update(predict=str(other), correct=str(int(other == int(row["label"]))))

    with pytest.raises(ValueError, match="not that of the largest of its logits"):
        read(_edited(file, tmp_path, edit))
