import multiprocessing
import time

import keras
import numpy as np
import pytest

from experiments import datasets
from experiments.certifying import certify_test_images, evenly_spread
from lsrs_tf import models
from lsrs_tf.records import reading
from lsrs_tf.smoothing.certification import make_certifier


def test_images_are_spread_evenly():
    assert evenly_spread(5, None) == [0, 1, 2, 3, 4]
    assert evenly_spread(10_000, 4) == [0, 2500, 5000, 7500]
    assert evenly_spread(360, 7) == sorted(set(evenly_spread(360, 7)))
    for count in (0, -1, 11):
        with pytest.raises(ValueError, match="--num_images"):
            evenly_spread(10, count)


def _certify(model, path, indices, **changed):
    settings = {"n0": 10, "n": 50, "alpha": 0.01, "seed": 0, "batch_size": 50, **changed}
    certifier = make_certifier(model, **settings)
    certify_test_images(certifier, model, datasets.load("digits"), path, "2/4", indices)


def _without_times(path):
    columns = [line.split("\t") for line in path.read_text().splitlines()]
    return sorted(tuple(row[:5] + row[6:]) for row in columns)


def test_rows_do_not_depend_on_interruptions_and_order(tmp_path):
    model = models.convnet(width=4)
    _certify(model, tmp_path / "whole.tsv", [0, 3, 7])
    _certify(model, tmp_path / "parts.tsv", [3])
    _certify(model, tmp_path / "parts.tsv", [0, 3, 7])
    assert _without_times(tmp_path / "parts.tsv") == _without_times(tmp_path / "whole.tsv")
    rows = reading.read(tmp_path / "whole.tsv")
    assert [row.idx for row in rows] == [0, 3, 7]
    assert rows[0].extra["sigma"] == "0.25"
    assert sum(map(int, rows[0].extra["counts"].split(","))) <= 50
    assert rows[0].seconds > 0


def test_sequential_rows_do_not_depend_on_interruptions_and_order(tmp_path):
    model = models.convnet(width=4)
    sequential = {"method": "sequential", "target_radii": [0.05, 0.1], "n": 300}
    _certify(model, tmp_path / "whole.tsv", [0, 3, 7, 9], **sequential)
    _certify(model, tmp_path / "parts.tsv", [7], **sequential)
    _certify(model, tmp_path / "parts.tsv", [0, 3, 7, 9], **sequential)
    whole, parts = (
        [line.split("\t") for line in (tmp_path / name).read_text().splitlines()]
        for name in ("whole.tsv", "parts.tsv")
    )
    assert [row[:5] + row[6:] for row in whole] == [row[:5] + row[6:] for row in parts]
    rows = reading.read(tmp_path / "whole.tsv")
    assert [row.idx for row in rows] == [0, 3, 7, 9]
    assert {row.radius for row in rows} <= {0.0, 0.05, 0.1}
    for row in rows:
        assert row.extra["target_radii"] == "0.05,0.1"
        assert 10 < int(row.extra["samples"]) <= 310
    with pytest.raises(FileExistsError, match="target_radii="):
        _certify(model, tmp_path / "whole.tsv", [1], **{**sequential, "target_radii": [0.05]})
    with pytest.raises(FileExistsError, match="method=sequential before, fixed now"):
        _certify(model, tmp_path / "whole.tsv", [1], n=300)


def test_images_of_another_choice_are_refused(tmp_path):
    model = models.convnet(width=4)
    _certify(model, tmp_path / "file.tsv", [0, 3])
    with pytest.raises(FileExistsError, match="also holds 1 images .such as 3."):
        _certify(model, tmp_path / "file.tsv", [0, 5])


def test_other_settings_or_another_model_are_refused(tmp_path):
    path = tmp_path / "file.tsv"
    _certify(models.convnet(width=4), path, [0])
    with pytest.raises(FileExistsError, match="model="):
        _certify(models.convnet(width=4), path, [1])
    with pytest.raises(FileExistsError, match=r"n=50 before, 60 now"):
        _certify(models.convnet(width=4), path, [1], n=60)


def _certify_saved(model_path, path):
    certifier_settings = {"n0": 10, "n": 10_000, "alpha": 0.001, "target_radii": [0.02, 0.05]}
    model = keras.models.load_model(model_path)
    _certify(model, path, evenly_spread(360, 60), method="sequential", **certifier_settings)


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path):
    # Its processes have TensorFlow imported when they begin.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.certifying", "lsrs_tf.models"])
    models.convnet(width=8).save(tmp_path / "model.keras")
    whole, killed = tmp_path / "whole.tsv", tmp_path / "killed.tsv"

    def start(path):
        process = context.Process(target=_certify_saved, args=(tmp_path / "model.keras", path))
        process.start()
        return process

    def rows():
        return killed.read_text().count("\n") if killed.exists() else 0

    start(whole).join()
    rng = np.random.default_rng(0)
    for _ in range(10):
        process, wanted = start(killed), rows() + rng.integers(0, 5)
        while process.is_alive() and rows() < wanted:
            time.sleep(0.001)
        # Somewhere between two rows, or within one.
        time.sleep(rng.uniform(0, 0.05))
        before = rows()
        process.kill()
        process.join()
        # Nothing that was written gets lost.
        assert before <= rows() < 61
    start(killed).join()
    assert _without_times(killed) == _without_times(whole)
    assert [record.idx for record in reading.read(killed)] == evenly_spread(360, 60)
