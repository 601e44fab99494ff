import gzip

import pytest

from experiments import datasets
from experiments.certified_test_set import certify_test_images
from experiments.recertify import recertify_file
from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.records import reading
from tests.certification_files import file


def _certify(model, path, alpha, method="fixed", target_radii=None):
    certifier = Certifier(
        model,
        method=method,
        target_radii=target_radii,
        n0=10,
        n=300,
        alpha=alpha,
        batch_size=50,
    )
    certify_test_images(certifier, model, datasets.load("digits"), path, "2/4", [0, 3, 7])


def test_rows_are_those_of_certifying_at_that_alpha(tmp_path):
    model = models.convnet(width=4)
    _certify(model, tmp_path / "first.tsv", 0.01)
    _certify(model, tmp_path / "expected.tsv", 0.2)
    recertify_file(tmp_path / "first.tsv", tmp_path / "again.tsv", 0.2)
    rows = [
        [line.split("\t") for line in (tmp_path / name).read_text().splitlines()]
        for name in ("again.tsv", "expected.tsv")
    ]
    for name, origin in (("alpha", "0.01"), ("against", "half")):
        place = rows[0][0].index(f"recertified_from_{name}")
        assert {row.pop(place) for row in rows[0]} == {f"recertified_from_{name}", origin}
    assert [row[:5] + row[6:] for row in rows[0]] == [row[:5] + row[6:] for row in rows[1]]
    # It is not taken for a file of certificates to go on with.
    with pytest.raises(FileExistsError, match="other columns"):
        _certify(model, tmp_path / "again.tsv", 0.2)
    with pytest.raises(FileExistsError, match="exists already"):
        recertify_file(tmp_path / "first.tsv", tmp_path / "again.tsv", 0.2)


def test_files_without_usable_votes_are_refused(tmp_path):
    _certify(models.convnet(width=4), tmp_path / "seq.tsv", 0.01, "sequential", [0.05])
    with pytest.raises(ValueError, match="sequential tests"):
        recertify_file(tmp_path / "seq.tsv", tmp_path / "again.tsv", 0.2)
    bare = tmp_path / "bare.tsv"
    file(bare, [], [(0, 3, 3, 0.428, 15.132)])
    with pytest.raises(ValueError, match="does not hold the votes"):
        recertify_file(bare, tmp_path / "again.tsv", 0.2)
    assert not (tmp_path / "again.tsv").exists()


def test_what_is_not_asked_for_stays_as_it_was(tmp_path):
    _certify(models.convnet(width=4), tmp_path / "certified.tsv", 0.01)
    recertify_file(tmp_path, tmp_path / "second.tsv", against="runner_up")
    recertify_file(tmp_path / "second.tsv", tmp_path / "third.tsv", alpha=0.1)
    settings = reading.read(tmp_path / "third.tsv")[0].settings
    assert (settings["alpha"], settings["against"]) == ("0.1", "runner_up")
    assert settings["recertified_from_alpha"] == "0.01"
    assert settings["recertified_from_against"] == "half"


def test_votes_that_cannot_be_are_refused(tmp_path):
    _certify(models.convnet(width=4), tmp_path / "first.tsv", 0.01)
    text = (tmp_path / "first.tsv").read_text()
    counts = reading.read(tmp_path / "first.tsv")[0].extra["counts"]
    (tmp_path / "edited.tsv").write_text(text.replace(counts, "301" + counts[counts.index(",") :]))
    with pytest.raises(ValueError, match="Line 2 of .*edited.tsv is damaged: votes .* 300 samples"):
        recertify_file(tmp_path / "edited.tsv", tmp_path / "again.tsv", 0.2)


def test_file_of_others_making_is_read_and_its_columns_stay(tmp_path):
    _certify(models.convnet(width=4), tmp_path / "first.tsv", 0.01)
    recertify_file(tmp_path / "first.tsv", tmp_path / "expected.tsv", 0.2)
    header, *rows = (tmp_path / "first.tsv").read_text().splitlines()
    lines = [f"note\t{header}", *(f"mine\t{row}" for row in rows)]
    copy = tmp_path / "copy.tsv.gz"
    copy.write_bytes(gzip.compress("\r\n".join(lines).encode("utf-8-sig")))
    recertify_file(copy, tmp_path / "again.tsv", 0.2)
    header, *rows = (tmp_path / "again.tsv").read_text().splitlines()
    assert header.endswith("\tnote")
    assert [row.removesuffix("\tmine") for row in rows] == (
        (tmp_path / "expected.tsv").read_text().splitlines()[1:]
    )


def test_nothing_is_left_where_nothing_can_be_certified(tmp_path):
    _certify(models.convnet(width=4), tmp_path / "first.tsv", 0.01)
    with pytest.raises(ValueError, match="nothing can be certified at alpha=1e-99"):
        recertify_file(tmp_path / "first.tsv", tmp_path / "again.tsv", 1e-99)
    assert not (tmp_path / "again.tsv").exists()
