import concurrent.futures
import contextlib
import socket
import threading
import time

import pytest

from experiments import rendezvous, worker_messages
from experiments.clusters import Cluster


def _free_addresses(count):
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    # Only the first one is listened at.
    return tuple(f"127.0.0.1:{port + index}" for index in range(count))


def _meet(addresses, facts_of_each, timeout=5):
    """Returns what every worker raises, or None; facts_of_each: pairs of index and facts."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        futures = [
            pool.submit(rendezvous.meet, Cluster(addresses, index), facts, timeout)
            for index, facts in facts_of_each
        ]
        return [future.exception(timeout=30) for future in futures]


def test_workers_that_agree_go_on():
    facts = {"sizes": (1, 2), "rate": 0.1}
    assert _meet(_free_addresses(3), [(2, facts), (1, facts), (0, facts)]) == [None] * 3


def test_workers_meet_at_an_ipv6_address():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    addresses = tuple(address.replace("127.0.0.1", "[::1]") for address in _free_addresses(2))
    assert _meet(addresses, [(1, {}), (0, {})]) == [None] * 2


def test_every_worker_is_told_where_one_differs():
    facts = [(0, {"rate": 0.1}), (1, {"rate": 0.1}), (2, {"rate": 0.2})]
    for error in _meet(_free_addresses(3), facts):
        assert isinstance(error, ValueError)
        assert "rate: 0.1 on worker 0, 0.2 on worker 2)" in str(error)


def test_no_worker_waits_longer_than_it_should():
    began = time.monotonic()
    for error in _meet(_free_addresses(3), [(0, {}), (2, {})], timeout=0.5):
        assert "Worker 1 of the 3 in TF_CONFIG did not come within 0.5 seconds" in str(error)
        assert "; workers 0, 2 did. Start the same command" in str(error)
    (error,) = _meet(_free_addresses(3), [(1, {})], timeout=0.5)
    assert "Worker 0 of the 3" in str(error)
    assert "The last try to reach it failed: [Errno 111] Connection refused." in str(error)
    assert time.monotonic() - began < 5


def test_a_task_index_given_twice_is_an_error_at_once():
    for count, indices in [(3, (0, 1, 1)), (2, (0, 0))]:
        began = time.monotonic()
        errors = _meet(_free_addresses(count), [(index, {}) for index in indices], timeout=30)
        assert all(
            f"Two workers have come with the task index {indices[-1]}, on " in str(error)
            for error in errors
        )
        assert time.monotonic() - began < 15


def test_other_hosts_are_an_error_at_once():
    first, second = _free_addresses(2)
    longer, changed, in_another_order = (
        (first, second, "127.0.0.1:1"),
        (first, "127.0.0.1:1"),
        (second, first),
    )
    for others in [longer, changed, in_another_order]:
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            futures = [
                pool.submit(rendezvous.meet, Cluster(addresses, index), {}, 30)
                for addresses, index in [((first, second), 0), (others, len(others) - 1)]
            ]
            errors = [str(future.exception(timeout=40)) for future in futures]
        for error in errors:
            assert "has other hosts in TF_CONFIG than worker 0" in error
            assert f"{', '.join(others)}, and on worker 0 {first}, {second}. Give" in error
        assert time.monotonic() - began < 15


def _connected(addresses):
    """Returns a connection to the first worker, as soon as it listens."""
    port = int(addresses[0].rpartition(":")[2])
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError(f"Nothing listens at {addresses[0]}.")


@contextlib.contextmanager
def _worker(addresses, index=1, process="one"):
    """Connects as a worker does, and yields the connection."""
    message = {"index": index, "addresses": addresses, "process": process, "facts": {}}
    with _connected(addresses) as connection:
        worker_messages.send(connection, message)
        yield connection


def test_a_worker_may_be_started_again_and_may_lose_its_connection():
    addresses = _free_addresses(3)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        chief = pool.submit(rendezvous.meet, Cluster(addresses, 0), {}, 20)
        with _worker(addresses, process="killed"):
            pass
        with _worker(addresses), _worker(addresses) as again:
            other = pool.submit(rendezvous.meet, Cluster(addresses, 2), {}, 20)
            answer = worker_messages.received(again, time.monotonic() + 20)
            assert [index for index, _ in answer["found"]] == [0, 1, 2]
        assert chief.exception(timeout=20) is None
        assert other.exception(timeout=20) is None


def test_the_first_worker_of_another_training_disturbs_nobody():
    addresses = _free_addresses(2)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        chief = pool.submit(rendezvous.meet, Cluster(addresses, 0), {}, 20)
        with _worker((addresses[0], "127.0.0.1:1"), index=0) as connection:
            assert worker_messages.received(connection, time.monotonic() + 20) is None
        other = pool.submit(rendezvous.meet, Cluster(addresses, 1), {}, 20)
        assert chief.exception(timeout=20) is None
        assert other.exception(timeout=20) is None


def test_a_worker_that_is_not_where_it_should_be_is_told_so():
    # Reserved for documentation, so that no machine has it.
    here, other = _free_addresses(2)
    there = other.replace("127.0.0.1", "192.0.2.1")
    for addresses, index in [((there, here), 0), ((here, there), 1)]:
        (error,) = _meet(addresses, [(index, {})], timeout=0.3)
        told = f"Worker {index} is on {socket.gethostname()}, and {there} is not an address of it."
        assert told in str(error)
    (error,) = _meet((here, "127.0.0.1:1"), [(1, {})], timeout=0.3)
    assert "is not an address of it" not in str(error)


@pytest.fixture
def known_later(monkeypatch):
    """No host name is known but those in the set that is returned, which is empty at first."""
    known, of_system = set(), socket.getaddrinfo

    def found(host, *details, **options):
        if host not in known and not host.startswith("127."):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return of_system("127.0.0.1" if host in known else host, *details, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return known


def test_names_that_are_not_known_are_told_at_once_and_waited_for(known_later, capsys):
    port = _free_addresses(1)[0].rpartition(":")[2]
    for addresses, index in [
        ((f"first:{port}", "127.0.0.1:1"), 0),
        ((f"first:{port}", "127.0.0.1:1"), 1),
        ((f"127.0.0.1:{port}", "second:1"), 1),
    ]:
        (error,) = _meet(addresses, [(index, {})], timeout=0.3)
        assert "not known" in str(error) and "Correct the name in TF_CONFIG" in str(error)
        assert "Waiting up to 0.3 seconds" in capsys.readouterr().out
    # The name of another one is only known to matter if it does not come.
    (error,) = _meet((f"127.0.0.1:{port}", "second:1"), [(0, {})], timeout=0.3)
    assert "The host of second:1 in TF_CONFIG is not known" in str(error)
    assert "Waiting" not in capsys.readouterr().out


def test_names_that_become_known_are_waited_for(known_later):
    port = _free_addresses(1)[0].rpartition(":")[2]
    addresses = (f"first:{port}", "second:1")
    threading.Timer(0.5, known_later.update, [("first", "second")]).start()
    assert _meet(addresses, [(0, {}), (1, {})], timeout=20) == [None, None]


def test_strangers_are_ignored():
    addresses = _free_addresses(2)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        chief = pool.submit(rendezvous.meet, Cluster(addresses, 0), {}, 5)
        for message in (
            b"GET / HTTP/1.1\r\n\r\n\n",
            b'{"index": 7, "facts": {}}\n',
            b"[]\n",
            b"[" * 10**5 + b"\n",
            b"",
        ):
            with _connected(addresses) as stranger:
                stranger.sendall(message)
        other = pool.submit(rendezvous.meet, Cluster(addresses, 1), {}, 5)
        assert chief.exception(timeout=20) is None
        assert other.exception(timeout=20) is None


def test_a_port_that_is_taken_is_an_error():
    with socket.create_server(("", 0)) as taken:
        addresses = (f"127.0.0.1:{taken.getsockname()[1]}", "127.0.0.1:1")
        (error,) = _meet(addresses, [(0, {})], timeout=0.3)
    assert "is not free" in str(error)
