"""The workers of a training meet, and compare what they are about to do, before they begin.

TensorFlow waits without end for workers that do not come, and workers that train differently wait
for each other later, or average weights of different networks.
"""

import contextlib
import dataclasses
import json
import secrets
import socket
import time

from experiments import host_names, worker_messages

_PAUSE = 0.1
# Seconds for a worker that has connected to say who it is.
_GREETING = 5.0


@dataclasses.dataclass(frozen=True)
class _Arrival:
    """A worker that has come to the first one.

    Attributes:
        message: dict, what it sent, see `worker_messages`.
        connection: socket.
    """

    message: dict
    connection: socket.socket

    @property
    def host(self):
        """Where it is, str."""
        with contextlib.suppress(OSError):
            return self.connection.getpeername()[0]
        return "a host that is gone"

    def has_gone(self):
        """Returns whether it has closed its connection, as a process does that ends."""
        try:
            self.connection.settimeout(0)
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True


def meet(cluster, facts, timeout):
    """Waits until all workers of a cluster are there, and checks that they agree.

    All of them connect to the address of the first one, which TensorFlow uses afterwards.

    Args:
        cluster: `experiments.clusters.Cluster`.
        facts: dict of JSON values, what has to be the same for all workers.
        timeout: float, seconds to wait for the others.

    Raises:
        ValueError: on every worker, if some do not come in time, or disagree; at once if one has
            other hosts in TF_CONFIG than the first one, or the index of another.
    """
    own = {
        "index": cluster.index,
        "addresses": list(cluster.addresses),
        # A worker whose connection was lost comes again; another one with its index is a mistake.
        "process": secrets.token_hex(8),
        "facts": json.loads(json.dumps(facts)),
    }
    deadline = time.monotonic() + timeout
    necessary = {cluster.addresses[0]: None, cluster.addresses[cluster.index]: None}
    host_names.wait_until_known(list(necessary), timeout)
    if cluster.index == 0:
        found = _gathered(own, deadline, timeout)
    else:
        found = _sent(own, deadline, timeout)
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


def _gathered(own, deadline, timeout):
    """Returns the facts of all workers, by index, after telling them to each of these."""
    count = len(own["addresses"])
    arrivals, connections = {}, []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_listening(own, deadline, timeout))
        try:
            while len(arrivals) < count - 1 and (left := deadline - time.monotonic()) > 0:
                server.settimeout(left)
                with contextlib.suppress(OSError):
                    connection = stack.enter_context(server.accept()[0])
                    greeted = min(deadline, time.monotonic() + _GREETING)
                    message = worker_messages.received(connection, greeted)
                    if not worker_messages.is_of_worker(message) or _is_of_others(message, own):
                        # Something else looks whether anyone is here.
                        connection.close()
                        continue
                    connections.append(connection)
                    arrival = _Arrival(message, connection)
                    _check(arrival, own, arrivals.get(message["index"]))
                    arrivals[message["index"]] = arrival
            missing = sorted({*range(1, count)} - {*arrivals})
            if missing:
                reasons = [host_names.elsewhere_reason(0, own["addresses"][0])]
                reasons += [host_names.unknown_reason(own["addresses"][one]) for one in missing]
                raise _absence(missing, own, timeout, [0, *sorted(arrivals)], reasons)
        except ValueError as error:
            for connection in connections:
                worker_messages.send(connection, {"refused": str(error)})
            raise
        found = {0: own["facts"]}
        found |= {index: arrival.message["facts"] for index, arrival in arrivals.items()}
        for arrival in arrivals.values():
            worker_messages.send(arrival.connection, {"found": sorted(found.items())})
    return found


def _check(arrival, own, before):
    """Raises if a worker cannot be the one of this cluster that it says it is.

    Args:
        arrival: `_Arrival`.
        own: dict, the message of the first worker.
        before: `_Arrival` that had the same index, or None.
    """
    index, addresses = arrival.message["index"], arrival.message["addresses"]
    if addresses != own["addresses"]:
        raise ValueError(
            f"Worker {index}, on {arrival.host}, has other hosts in TF_CONFIG than worker 0: "
            f"{', '.join(addresses)}, and on worker 0 {', '.join(own['addresses'])}. Give all "
            "workers the same cluster, in the same order, and each its own task."
        )
    if index == 0:
        host = socket.gethostname()
    elif before is None or before.message["process"] == arrival.message["process"]:
        return
    elif before.has_gone():
        # It was started again.
        return
    else:
        host = before.host
    raise ValueError(
        f"Two workers have come with the task index {index}, on {host} and on {arrival.host}. Give "
        "every worker a task index of its own in TF_CONFIG."
    )


def _sent(own, deadline, timeout):
    """Returns the facts of all workers by index, as the first one has gathered them."""
    first, itself = own["addresses"][0], own["addresses"][own["index"]]
    reason = ""
    while time.monotonic() < deadline:
        # The first worker answers at its own deadline, which may be later.
        answer, reason = _asked(first, own, deadline + timeout)
        if isinstance(answer, dict) and "found" in answer:
            return {int(index): told for index, told in answer["found"]}
        # Nothing listens there, unless this is the address of the first worker in the TF_CONFIG of
        # another one, who will say so.
        _asked(itself, own, min(deadline, time.monotonic() + _GREETING))
        time.sleep(_PAUSE)
    elsewhere = host_names.elsewhere_reason(own["index"], itself)
    raise _absence([0], own, timeout, [], [reason, elsewhere])


def _asked(address, own, deadline):
    """Returns the answer of whoever listens at an address, or None, and what went wrong, a text.

    Raises:
        ValueError: if it is the first worker, who refuses this one.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as connection:
            worker_messages.send(connection, own)
            answer = worker_messages.received(connection, deadline)
    except OSError as error:
        return None, f"The last try to reach it failed: {error}."
    if worker_messages.is_refusal(answer):
        raise ValueError(answer["refused"])
    return answer, "What is there does not answer as the first worker of a training that begins."


def _absence(missing, own, timeout, came, reasons):
    """Returns the error of workers that did not come.

    Args:
        missing: list of int, which did not.
        own: dict, the message of this worker.
        timeout: float, seconds that were waited.
        came: list of int, which did, as far as is known.
        reasons: list of str, what may be the reasons; empty texts are none.
    """
    addresses = own["addresses"]
    text = (
        f"{_named(missing).capitalize()} of the {len(addresses)} in TF_CONFIG did not come within "
        f"{timeout:g} seconds ({', '.join(addresses[index] for index in missing)})"
    )
    if came:
        text += f"; {_named(came)} did"
    known = "".join(f" {reason}" for reason in reasons if reason)
    return ValueError(
        f"{text}.{known} Start the same command on every worker, or let them wait longer with "
        "--worker_timeout. If all were started, look at TF_CONFIG on each: it has to be set (with "
        "--strategy=multi_worker nothing is trained without), with the same hosts in the same "
        "order everywhere and the index of the worker itself."
    )


def _listening(own, deadline, timeout):
    """Returns a socket that listens at the port of the first worker, which is this one."""
    address = own["addresses"][0]
    port = int(address.rpartition(":")[2])
    # Not everywhere: a machine can be without IPv6.
    by_ipv6 = address.startswith("[")
    family = socket.AF_INET6 if by_ipv6 else socket.AF_INET
    both = by_ipv6 and socket.has_dualstack_ipv6()
    asked = False
    while True:
        try:
            return socket.create_server(("", port), family=family, dualstack_ipv6=both)
        except OSError as error:
            if not asked:
                # Another first worker would say so, as soon as it has listened to others.
                _asked(f"127.0.0.1:{port}", own, min(deadline, time.monotonic() + 2 * _GREETING))
                asked = True
            # A worker that was killed may have left it to a process that is about to end.
            if time.monotonic() > deadline:
                raise ValueError(
                    f"The port of the first worker, {address}, is not free after {timeout:g} "
                    f"seconds: {error}. End what uses it, or name another one in TF_CONFIG."
                ) from error
            time.sleep(_PAUSE)


def _is_of_others(message, own):
    """Returns whether a message is of the first worker of another training at the same port."""
    return message["index"] == 0 and message["addresses"] != own["addresses"]


def _named(indices):
    return f"worker{'s' if len(indices) > 1 else ''} {', '.join(map(str, indices))}"
