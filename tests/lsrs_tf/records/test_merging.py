import pytest

from experiments import datasets, sharding
from experiments.certifying import certify_test_images
from lsrs_tf import models
from lsrs_tf.records import reading
from lsrs_tf.records.merging import merge
from lsrs_tf.smoothing.certification import make_certifier

INDICES = [0, 3, 7, 9, 11]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    model, data = models.convnet(width=4), datasets.load("digits")

    def certify(name, indices, n=300):
        path, radii = folder / name, [0.05]
        certifier = make_certifier(model, "sequential", radii, None, 10, n, 0.01, 0, 50)
        certify_test_images(certifier, model, data, path, "2/4", indices)
        return path

    shards = [
        certify(f"certified.{index}of2.tsv", sharding.of_shard(INDICES, (index, 2)))
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


def test_half_a_row_counts_as_missing(files, tmp_path):
    shards, _, _ = files
    cut = tmp_path / "cut.tsv"
    cut.write_text(shards[0].read_text()[:-5])
    with pytest.raises(ValueError, match="1 are missing .such as 11"):
        merge([cut, shards[1]], tmp_path / "merged.tsv", INDICES)
