import pytest

from experiments import sharding


def test_shards_are_parsed_and_cover_everything():
    assert sharding.parsed_shard(None) is None
    assert sharding.parsed_shard("2/4") == (2, 4)
    for text in ("0/4", "5/4", "2", "a/b", "-1/4", "2/4/6"):
        with pytest.raises(ValueError, match="--shard"):
            sharding.parsed_shard(text)
    parts = [sharding.of_shard(list(range(10)), (index, 3)) for index in (1, 2, 3)]
    assert sorted(sum(parts, [])) == list(range(10))
    assert sharding.shard_path("runs/certified.tsv", (2, 4)).name == "certified.2of4.tsv"
    assert sharding.shard_path("runs/certified.tsv", None).name == "certified.tsv"
