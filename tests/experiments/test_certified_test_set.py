import dataclasses
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import datasets
from experiments.certified_test_set import (
    certify_test_images,
    check_images,
    evenly_spread,
    of_shard,
    parsed_shard,
    shard_path,
)
from lsrs_tf import layers, models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.evaluation import multiply_adds
from lsrs_tf.records import reading
from tests.commands import CONTEXT


def test_images_are_spread_evenly():
    assert evenly_spread(5, None) == [0, 1, 2, 3, 4]
    assert evenly_spread(10_000, 4) == [0, 2500, 5000, 7500]
    assert evenly_spread(360, 7) == sorted(set(evenly_spread(360, 7)))
    for count in (0, -1, 11):
        with pytest.raises(ValueError, match="--num_images"):
            evenly_spread(10, count)


def _certify(model, path, indices, data=None, **changed):
    settings = {"n0": 10, "n": 50, "alpha": 0.01, "seed": 0, "batch_size": 50, **changed}
    certifier = Certifier(model, **settings)
    data = datasets.load("digits") if data is None else data
    certify_test_images(certifier, model, data, path, "2/4", indices)


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


def _with_other_image(data, changed, brighter=0.0, label=None):
    """Returns a data set in which one image, or its label, is another one."""

    def test(indices):
        wanted = list(range(data.num_test)) if indices is None else indices
        images = zip(wanted, data.test(indices).as_numpy_iterator(), strict=True)
        examples = [
            (image + np.float32(brighter), true if label is None else label)
            if index == changed
            else (image, true)
            for index, (image, true) in images
        ]
        return tf.data.Dataset.from_generator(
            lambda: iter(examples),
            output_signature=(
                tf.TensorSpec(data.image_shape, tf.float32),
                tf.TensorSpec((), tf.int64),
            ),
        )

    return dataclasses.replace(data, test=test)


def test_data_that_differ_in_an_image_of_the_file_are_refused(tmp_path):
    model, path, data = models.convnet(width=4), tmp_path / "file.tsv", datasets.load("digits")
    _certify(model, path, [0, 200, 359])
    before = path.read_bytes()
    for other in (
        # The last bit of one pixel, far behind the first images.
        _with_other_image(data, 200, brighter=2.0**-24),
        _with_other_image(data, 359, label=11),
    ):
        assert other.fingerprint() == data.fingerprint()
        with pytest.raises(ValueError, match="about other images: its image (200|359) has label"):
            _certify(model, path, [0, 200, 250, 359], data=other)
        assert path.read_bytes() == before
    with pytest.raises(ValueError, match="about other images: its image 200"):
        check_images(reading.read(path), _with_other_image(data, 200, brighter=0.5), path)
    with pytest.raises(ValueError, match="holds image 359, but there are 300"):
        check_images(reading.read(path), dataclasses.replace(data, num_test=300), path)
    # Images that are not in the file make no difference to it.
    _certify(model, path, [0, 200, 250, 359], data=_with_other_image(data, 201, brighter=0.5))
    # A row of an earlier version has no fingerprint, only a label.
    rows = [line.rsplit("\t", 1)[0] for line in path.read_text().splitlines()]
    path.write_text("".join(f"{line}\n" for line in rows))
    check_images(reading.read(path), data, path)
    with pytest.raises(ValueError, match="its image 0 has label"):
        check_images(reading.read(path), _with_other_image(data, 0, label=11), path)


def test_file_of_an_earlier_version_resumes_to_what_it_would_have_been(tmp_path):
    model, whole, parts = models.convnet(width=4), tmp_path / "whole.tsv", tmp_path / "parts.tsv"
    _certify(model, whole, [0, 3, 7])
    _certify(model, parts, [3])
    for path in (whole, parts):
        rows = [line.rsplit("\t", 1)[0] for line in path.read_text().splitlines()]
        path.write_text("".join(f"{line}\n" for line in rows))
    assert whole.read_text().splitlines()[0].endswith("\tcounts")
    _certify(model, parts, [0, 3, 7])
    assert _without_times(parts) == _without_times(whole)


def test_copy_with_other_line_ends_resumes(tmp_path):
    model, whole, copy = models.convnet(width=4), tmp_path / "whole.tsv", tmp_path / "copy.tsv"
    _certify(model, whole, [0, 3, 7])
    _certify(model, copy, [3])
    copy.write_bytes(copy.read_bytes().replace(b"\n", b"\r\n"))
    _certify(model, copy, [0, 3, 7])
    assert _without_times(copy) == _without_times(whole)
    assert b"\r" not in copy.read_bytes()


def test_row_that_contradicts_its_votes_is_not_resumed(tmp_path):
    model, path = models.convnet(width=4), tmp_path / "file.tsv"
    _certify(model, path, [0, 3], method="sequential", target_radii=[0.05], n=300)
    header, row, *others = [line.split("\t") for line in path.read_text().splitlines()]
    row[header.index("counts")] = ",".join("0" * 10)
    row[header.index("predict")] = row[header.index("label")]
    row[header.index("radius")], row[header.index("correct")] = "0.05", "1"
    path.write_text("".join("\t".join(cells) + "\n" for cells in (header, row, *others)))
    with pytest.raises(ValueError, match="Line 2 .* when certification resumes"):
        _certify(model, path, [0, 3, 7], method="sequential", target_radii=[0.05], n=300)


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
    models.convnet(width=8).save(tmp_path / "model.keras")
    whole, killed = tmp_path / "whole.tsv", tmp_path / "killed.tsv"

    def start(path):
        process = CONTEXT.Process(target=_certify_saved, args=(tmp_path / "model.keras", path))
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


def test_shards_are_parsed_and_cover_everything():
    assert parsed_shard(None) is None
    assert parsed_shard("2/4") == (2, 4)
    for text in ("0/4", "5/4", "2", "a/b", "-1/4", "2/4/6"):
        with pytest.raises(ValueError, match="--shard"):
            parsed_shard(text)
    parts = [of_shard(list(range(10)), (index, 3)) for index in (1, 2, 3)]
    assert sorted(sum(parts, [])) == list(range(10))
    assert shard_path("runs/certified.tsv", (2, 4)).name == "certified.2of4.tsv"
    assert shard_path("runs/certified.tsv", None).name == "certified.tsv"


@pytest.mark.parametrize("noise", ["float32", "logits"])
def test_file_tells_what_a_certificate_costs(tmp_path, noise):
    encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.OrthogonalConv2D(2, 3)])
    head = keras.Sequential(
        [keras.Input((8, 8, 2)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    model = models.LatentSmoothingModel(encoder, head, 0.25)
    _certify(model, tmp_path / "file.tsv", [0], noise=noise)
    (record,) = reading.read(tmp_path / "file.tsv")
    # Few latents: a projection to as many numbers as there are classes belongs to the encoder.
    projection = 128 * 10 if noise == "logits" else 0
    assert record.value("multiply_adds_per_image") == multiply_adds(encoder) + projection
    assert record.value("multiply_adds_per_sample") == (100 if noise == "logits" else 1280)


def test_file_of_margins_tells_what_a_pass_costs(tmp_path):
    model = models.orthogonal_convnet(width=2, depth=1, input_shape=(8, 8, 1), sigma=0)
    certify_test_images(
        Certifier(model, method="margin"), model, datasets.load("digits"), tmp_path / "file.tsv",
        "orthogonal_convnet", [0],
    )  # fmt: skip
    (record,) = reading.read(tmp_path / "file.tsv")
    whole = multiply_adds(model.encoder) + multiply_adds(model.head)
    assert record.value("multiply_adds_per_image") == whole > 0
    assert record.value("multiply_adds_per_sample") is None


def test_head_that_cannot_be_counted_has_an_unknown_cost(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Head(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(10)

        def call(self, latents):
            return self.dense(keras.ops.reshape(latents, (-1, 64)))

    encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Identity()])
    head = Head()
    head(np.zeros((1, 8, 8, 1)))
    model = models.LatentSmoothingModel(encoder, head, 0.25)
    _certify(model, tmp_path / "file.tsv", [0])
    (record,) = reading.read(tmp_path / "file.tsv")
    assert record.value("multiply_adds_per_sample") is None
