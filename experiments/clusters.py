"""The workers of a training, as the environment variable TF_CONFIG names them."""

import dataclasses
import json
import os

_EXAMPLE = (
    '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a training, and which of them this process is.

    Attributes:
        addresses: tuple of str, `host:port` of every worker, the chief first.
        index: int, the place of this process among them.
    """

    addresses: tuple
    index: int


def cluster_of(text):
    """Returns the cluster that the content of TF_CONFIG names.

    Args:
        text: str, JSON of TensorFlow's format: a dict of `cluster`, with the addresses of the
            `worker`s and perhaps of one `chief`, and of `task`, with the `type` and `index` of this
            process.

    Returns:
        A `Cluster`.

    Raises:
        ValueError: if the text is something else, or the task is not in the cluster.

    Examples:
        >>> text = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'
        >>> cluster_of(text)
        Cluster(addresses=('a:1', 'b:1'), index=1)
    """
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _refusal(f"is not JSON: {error}", text) from error
    jobs = config.get("cluster") if isinstance(config, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if not (isinstance(jobs, dict) and jobs):
        raise _refusal("names no cluster", text)
    unknown = sorted(set(jobs) - {"chief", "worker"})
    if unknown:
        raise _refusal(
            f"has tasks of the kind {', '.join(unknown)}, and training takes workers and at most "
            "one chief",
            text,
        )
    for addresses in jobs.values():
        if not (isinstance(addresses, list) and addresses and all(map(_is_address, addresses))):
            raise _refusal("has a job that is not a list of addresses host:port", text)
    if len(jobs.get("chief", ())) > 1:
        raise _refusal("names more than one chief", text)
    addresses = (*jobs.get("chief", ()), *jobs.get("worker", ()))
    if len(set(addresses)) < len(addresses):
        raise _refusal("names an address twice", text)
    if not isinstance(task, dict):
        raise _refusal("names no task, which says what this process is in the cluster", text)
    kind, index = task.get("type"), task.get("index")
    if kind not in jobs:
        raise _refusal(f"has a task of the type {kind!r}, which the cluster does not name", text)
    if type(index) is not int or not 0 <= index < len(jobs[kind]):
        raise _refusal(
            f"has the task index {index!r}, and the cluster has {len(jobs[kind])} tasks of the "
            f"type {kind}, counted from 0",
            text,
        )
    return Cluster(addresses, index + (len(jobs.get("chief", ())) if kind == "worker" else 0))


def cluster_of_environment():
    """Returns the `Cluster` of TF_CONFIG, or None where it is not set or empty."""
    text = os.environ.get("TF_CONFIG", "").strip()
    # Launchers of a single process set it to an empty dict.
    return None if text in ("", "{}") else cluster_of(text)


def _is_address(value):
    if not isinstance(value, str):
        return False
    host, _, port = value.rpartition(":")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return False
    return bool(host) and port.isascii() and port.isdecimal() and 0 < int(port) < 65536


def _refusal(what, text):
    return ValueError(
        f"The environment variable TF_CONFIG {what}. Set it as in {_EXAMPLE}, with the same "
        f"cluster on every worker and its own task, or unset it. Received: {text[:500]}"
    )
