import json

import pytest

from experiments import clusters

WORKERS = {"worker": ["a:1", "b:2"]}


def _text(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


def test_workers_are_counted_from_the_chief(monkeypatch):
    assert clusters.cluster_of(_text(WORKERS, index=1)) == clusters.Cluster(("a:1", "b:2"), 1)
    with_chief = {"worker": ["b:2", "[::1]:3"], "chief": ["a:1"]}
    everyone = ("a:1", "b:2", "[::1]:3")
    assert clusters.cluster_of(_text(with_chief, "chief")) == clusters.Cluster(everyone, 0)
    assert clusters.cluster_of(_text(with_chief, index=1)) == clusters.Cluster(everyone, 2)
    monkeypatch.setenv("TF_CONFIG", _text(WORKERS))
    assert clusters.cluster_of_environment().index == 0
    for nothing in ("", " ", "{}"):
        monkeypatch.setenv("TF_CONFIG", nothing)
        assert clusters.cluster_of_environment() is None
    monkeypatch.delenv("TF_CONFIG")
    assert clusters.cluster_of_environment() is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{worker", "is not JSON"),
        ("[]", "names no cluster"),
        ('{"task": {"type": "worker", "index": 0}}', "names no cluster"),
        (json.dumps({"cluster": WORKERS}), "names no task"),
        (_text(WORKERS, index=2), "task index 2, and the cluster has 2 tasks"),
        (_text(WORKERS, index=-1), "task index -1"),
        (_text(WORKERS, index="0"), "task index '0'"),
        (_text(WORKERS, index=True), "task index True"),
        (_text(WORKERS, "chief"), "type 'chief', which the cluster does not name"),
        (_text({**WORKERS, "ps": ["c:3"]}), "of the kind ps"),
        (_text({**WORKERS, "chief": ["c:3", "d:4"]}), "more than one chief"),
        (_text({"worker": ["a:1", "a:1"]}), "an address twice"),
        (_text({"worker": ["a", "b:2"]}), "list of addresses"),
        (_text({"worker": ["::1:2222", "b:2"]}), "list of addresses"),
        (_text({"worker": ["a:0", "b:2"]}), "list of addresses"),
        (_text({"worker": "a:1"}), "list of addresses"),
    ],
)
def test_other_contents_are_refused(text, message):
    with pytest.raises(ValueError, match=rf"TF_CONFIG .*{message}.*Set it as in"):
        clusters.cluster_of(text)
