"""The workers of a training meet, and compare what they are about to do, before they begin.

TensorFlow waits without end for workers that do not come, and workers that train differently wait
for each other later, or average weights of different networks.
"""

import contextlib
import json
import socket
import time

# No message of a worker is longer.
_LONGEST = 1_000_000
_PAUSE = 0.1


def meet(cluster, facts, timeout):
    """Waits until all workers of a cluster are there, and checks that they agree.

    All of them connect to the address of the first one, which TensorFlow uses afterwards.

    Args:
        cluster: `experiments.clusters.Cluster`.
        facts: dict of JSON values, what has to be the same for all workers.
        timeout: float, seconds to wait for the others.

    Raises:
        ValueError: on every worker, if some do not come in time, or disagree.
    """
    facts = json.loads(json.dumps(facts))
    deadline = time.monotonic() + timeout
    if cluster.index == 0:
        found = _gathered(cluster, facts, deadline, timeout)
    else:
        found = _sent(cluster, facts, deadline, timeout)
    # Without the first one no worker knows of the others.
    everyone = range(len(cluster.addresses)) if 0 in found else [0]
    missing = sorted(set(everyone) - set(found))
    if missing:
        raise ValueError(
            f"{_named(missing)} of the {len(cluster.addresses)} in TF_CONFIG did not come within "
            f"{timeout:g} seconds ({', '.join(cluster.addresses[index] for index in missing)}). "
            "Start the same command on every worker, or let them wait longer with --worker_timeout."
        )
    _refuse_differences(found)


def _refuse_differences(found):
    """Raises if facts differ from those of the first worker; found: dict of facts by index."""
    differences = [
        f"{name}: {found[0].get(name)!r} on worker 0, {facts.get(name)!r} on worker {index}"
        for index, facts in sorted(found.items())
        for name in sorted({*found[0], *facts})
        if facts.get(name) != found[0].get(name)
    ]
    if differences:
        raise ValueError(
            f"The workers do not agree ({'; '.join(differences)}). Give all of them the same "
            "command, versions and folder."
        )


def _gathered(cluster, facts, deadline, timeout):
    """Returns the facts of all workers that come, by index, after telling them to each of these."""
    found, connections = {0: facts}, {}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_listening(cluster.addresses[0], deadline, timeout))
        while len(found) < len(cluster.addresses) and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            with contextlib.suppress(OSError):
                connection = stack.enter_context(server.accept()[0])
                message = _received(connection, min(deadline, time.monotonic() + 5))
                if not _is_of_worker(message, len(cluster.addresses)):
                    # Something else looks whether anyone is here.
                    connection.close()
                    continue
                before = connections.pop(message["index"], None)
                if before is not None:
                    _send(before, {"replaced": True})
                connections[message["index"]] = connection
                found[message["index"]] = message["facts"]
        for connection in connections.values():
            _send(connection, {"found": sorted(found.items())})
    return found


def _sent(cluster, facts, deadline, timeout):
    """Returns the facts of all workers by index, as the first one has gathered them."""
    host, _, port = cluster.addresses[0].rpartition(":")
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host.strip("[]"), int(port)), timeout=5) as connection,
        ):
            _send(connection, {"index": cluster.index, "facts": facts})
            # The first worker answers at its own deadline, which may be later.
            answer = _received(connection, deadline + timeout)
            if isinstance(answer, dict) and answer.get("replaced"):
                raise ValueError(
                    f"Another worker came with the task index {cluster.index} as well. Give every "
                    "worker a task index of its own in TF_CONFIG."
                )
            if isinstance(answer, dict) and "found" in answer:
                return {int(index): told for index, told in answer["found"]}
        time.sleep(_PAUSE)
    return {cluster.index: facts}


def _listening(address, deadline, timeout):
    """Returns a socket that listens at the port of an address."""
    port = int(address.rpartition(":")[2])
    while True:
        try:
            return socket.create_server(("", port), reuse_port=False)
        except OSError as error:
            # A worker that was killed may have left it to a process that is about to end.
            if time.monotonic() > deadline:
                raise ValueError(
                    f"The port of the first worker, {address}, is not free after {timeout:g} "
                    f"seconds: {error}. End what uses it, or name another one in TF_CONFIG."
                ) from error
            time.sleep(_PAUSE)


def _send(connection, message):
    # Whoever has gone meanwhile is missed soon enough.
    with contextlib.suppress(OSError):
        connection.settimeout(5)
        connection.sendall(json.dumps(message).encode() + b"\n")


def _received(connection, deadline):
    """Returns a message, or None if none comes in time."""
    data = b""
    while not data.endswith(b"\n") and len(data) < _LONGEST:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(65536)
        if not part:
            return None
        data += part
    try:
        return json.loads(data)
    except ValueError:
        return None


def _is_of_worker(message, count):
    return (
        isinstance(message, dict)
        and type(message.get("index")) is int
        and 0 < message["index"] < count
        and isinstance(message.get("facts"), dict)
    )


def _named(indices):
    return f"Worker{'s' if len(indices) > 1 else ''} {', '.join(map(str, indices))}"
