import keras
import pytest

from experiments import certified_test_set, datasets
from experiments.certified_test_set import certify_test_images
from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.records import reading
from lsrs_tf.records.merging import merge
from tests.certification_files import file

INDICES = [0, 3, 7, 9, 11]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    keras.utils.set_random_seed(0)
    model, data = models.convnet(width=4, sigma=0.25), datasets.load("digits")

    def certify(name, indices, n=300):
        path, radii = folder / name, [0.05]
        certifier = Certifier(
            model,
            method="sequential",
            target_radii=radii,
            n0=10,
            n=n,
            alpha=0.01,
            batch_size=50,
        )
        certify_test_images(certifier, model, data, path, "2/4", indices)
        return path

    shards = [
        certify(f"certified.{index}of2.tsv", certified_test_set.of_shard(INDICES, (index, 2)))
        for index in (1, 2)
    ]
    return shards, certify("whole.tsv", INDICES), certify("other.tsv", [7], n=200)


def _without_times(path):
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [row[:5] + row[6:] for row in rows]


def test_shards_together_are_the_file_of_one_process(files, tmp_path):
    shards, whole, _ = files
    merge(shards, tmp_path / "merged.tsv", INDICES)
    assert _without_times(tmp_path / "merged.tsv") == _without_times(whole)
    assert [record.idx for record in reading.read(tmp_path / "merged.tsv")] == INDICES
    with pytest.raises(FileExistsError, match="exists already"):
        merge(shards, tmp_path / "merged.tsv", INDICES)


def test_nothing_may_be_missing_double_foreign_or_different(files, tmp_path):
    shards, _, other = files
    outfile = tmp_path / "merged.tsv"
    with pytest.raises(ValueError, match="2 are missing .such as 3, 9"):
        merge(shards[:1], outfile, INDICES)
    with pytest.raises(ValueError, match="Image 0 is in"):
        merge([*shards, shards[0]], outfile, INDICES)
    with pytest.raises(ValueError, match="1 do not belong"):
        merge(shards, outfile, INDICES[:-1])
    with pytest.raises(ValueError, match="n=300 and 200"):
        merge([shards[1], other], outfile, INDICES)
    assert not outfile.exists()


def test_half_a_row_is_refused(files, tmp_path):
    shards, _, _ = files
    cut = tmp_path / "cut.tsv"
    for left in (2, 5, 30):
        cut.write_text(shards[0].read_text()[:-left])
        with pytest.raises(ValueError, match="Line 4 of .*cut.tsv is damaged.*may be cut off"):
            merge([cut, shards[1]], tmp_path / "merged.tsv", INDICES)


def test_last_line_without_line_break_is_merged(files, tmp_path):
    shards, whole, _ = files
    copy = tmp_path / "copy.tsv"
    copy.write_bytes(shards[0].read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    merge([copy, shards[1]], tmp_path / "merged.tsv", INDICES)
    assert _without_times(tmp_path / "merged.tsv") == _without_times(whole)


def test_rows_that_contradict_their_votes_are_refused(files, tmp_path):
    shards, _, _ = files
    header, *rows = [line.split("\t") for line in shards[0].read_text().splitlines()]
    # One that is certified, so that each change below contradicts it.
    first = next(row for row in rows if row[header.index("predict")] != "-1")
    others = [row for row in rows if row is not first]
    for name, text in (("radius", "9"), ("p_lower", "0.9"), ("samples", "31"), ("predict", "-1")):
        row = [*first]
        row[header.index(name)] = text
        row[header.index("correct")] = str(int(row[1] == row[2]))
        edited = tmp_path / "edited.tsv"
        edited.write_text("".join("\t".join(cells) + "\n" for cells in (header, row, *others)))
        with pytest.raises(ValueError, match="Line 2 of .*edited.tsv is damaged"):
            merge([edited, shards[1]], tmp_path / "merged.tsv", INDICES)
    assert not (tmp_path / "merged.tsv").exists()


def test_images_are_checked_before_anything_is_written(files, tmp_path):
    shards, _, _ = files

    def refuse(records):
        assert sorted(record.idx for record in records) == INDICES
        raise ValueError("other images")

    with pytest.raises(ValueError, match="other images"):
        merge(shards, tmp_path / "merged.tsv", INDICES, refuse)
    assert not (tmp_path / "merged.tsv").exists()


def test_shards_of_earlier_versions_lack_later_columns(tmp_path):
    early = file(tmp_path / "early", ["clean"], [(0, 1, 1, 0.5, 1.0, ["1"])])
    late = file(
        tmp_path / "late", ["clean", "image_fingerprint"], [(1, 1, 1, 0.5, 1.0, ["1", "0" * 16])]
    )
    merge([early, late], tmp_path / "merged.tsv", [0, 1])
    first, second = reading.read(tmp_path / "merged.tsv")
    assert first.value("image_fingerprint") is None
    assert second.value("image_fingerprint") == "0" * 16
    other = file(tmp_path / "other", ["note"], [(1, 1, 1, 0.5, 1.0, ["mine"])])
    with pytest.raises(ValueError, match="other columns .* 'clean', 'note'"):
        merge([early, other], tmp_path / "again.tsv", [0, 1])


def test_later_columns_of_any_shard_are_kept(tmp_path):
    # One has the fingerprint of the image, the other the costs.
    columns = ["n0", "n"]
    costs = ["multiply_adds_per_image", "multiply_adds_per_sample"]
    file(
        tmp_path / "a.tsv",
        [*columns, "image_fingerprint"],
        [(0, 1, 1, 0.5, 1.0, [10, 50, "0" * 16])],
    )
    file(tmp_path / "b.tsv", [*columns, *costs], [(1, 1, 1, 0.5, 1.0, [10, 50, 7, 9])])
    merge([tmp_path / "a.tsv", tmp_path / "b.tsv"], tmp_path / "merged.tsv", [0, 1])
    first, second = reading.read(tmp_path / "merged.tsv")
    assert first.value("image_fingerprint") == "0" * 16
    assert second.value("image_fingerprint") is None
    assert second.value("multiply_adds_per_sample") == 9


def test_costs_that_a_shard_of_an_earlier_version_lacks_are_those_of_the_others(tmp_path):
    names, rows = ["sigma", "multiply_adds_per_image"], [(1, 1, 1, 0.5, 1.0, ["0.25", "70"])]
    early = file(tmp_path / "early", ["sigma"], [(0, 1, 1, 0.5, 1.0, ["0.25"])])
    late = file(tmp_path / "late", names, rows)
    for index, shards in enumerate(([early, late], [late, early])):
        merge(shards, tmp_path / f"merged{index}.tsv", [0, 1])
        records = reading.read(tmp_path / f"merged{index}.tsv")
        assert [record.value("multiply_adds_per_image") for record in records] == [70, 70]
    other = file(tmp_path / "other", names, [(2, 1, 1, 0.5, 1.0, ["0.25", "80"])])
    with pytest.raises(ValueError, match="multiply_adds_per_image=70 and 80"):
        merge([early, late, other], tmp_path / "again.tsv", [0, 1, 2])
