"""What workers and the first one of them tell each other, as lines of JSON.

A worker sends its task `index`, the `addresses` of all workers as its TF_CONFIG has them, a name of
its `process`, which no other one has, and `facts`, a dict. The first one answers with what it has
`found`, pairs of index and facts, or with why the worker is `refused`, a text.
"""

import contextlib
import json
import time

# No message of a worker is longer.
_LONGEST = 1_000_000


def send(connection, message):
    """Sends a message, a dict of JSON values, or nothing where the other side has gone."""
    # Whoever has gone meanwhile is missed soon enough.
    with contextlib.suppress(OSError):
        connection.settimeout(5)
        connection.sendall(json.dumps(message).encode() + b"\n")


def received(connection, deadline):
    """Returns a message, or None if something else comes; raises OSError if it is not in time."""
    data = b""
    while not data.endswith(b"\n") and len(data) < _LONGEST:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(65536)
        if not part:
            return None
        data += part
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        # Whatever looks whether anyone is here may send anything.
        return None


def is_of_worker(message):
    """Returns whether a message is one that a worker sends to the first one."""
    return (
        isinstance(message, dict)
        and type(message.get("index")) is int
        and message["index"] >= 0
        and isinstance(message.get("addresses"), list)
        and all(isinstance(address, str) for address in message["addresses"])
        and isinstance(message.get("process"), str)
        and isinstance(message.get("facts"), dict)
        and message["index"] < len(message["addresses"])
    )


def is_refusal(answer):
    """Returns whether the first worker answers that the workers cannot train together."""
    return isinstance(answer, dict) and isinstance(answer.get("refused"), str)
