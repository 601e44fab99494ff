import concurrent.futures
import socket
import time

from experiments import rendezvous
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


def test_every_worker_is_told_where_one_differs():
    facts = [(0, {"rate": 0.1}), (1, {"rate": 0.1}), (2, {"rate": 0.2})]
    for error in _meet(_free_addresses(3), facts):
        assert isinstance(error, ValueError)
        assert "rate: 0.1 on worker 0, 0.2 on worker 2)" in str(error)


def test_no_worker_waits_longer_than_it_should():
    began = time.monotonic()
    for error in _meet(_free_addresses(3), [(0, {}), (2, {})], timeout=0.5):
        assert "Worker 1 of the 3 in TF_CONFIG did not come within 0.5 seconds" in str(error)
    (error,) = _meet(_free_addresses(3), [(1, {})], timeout=0.5)
    assert "Worker 0 of the 3" in str(error)
    assert time.monotonic() - began < 5


def test_a_task_index_given_twice_is_an_error():
    addresses = _free_addresses(3)
    errors = _meet(addresses, [(0, {}), (1, {}), (1, {})], timeout=1)
    assert any("the task index 1 as well" in str(error) for error in errors)
    assert all(isinstance(error, ValueError) for error in errors)


def test_strangers_are_ignored():
    addresses = _free_addresses(2)
    port = int(addresses[0].rpartition(":")[2])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        chief = pool.submit(rendezvous.meet, Cluster(addresses, 0), {}, 5)
        for message in (b"GET / HTTP/1.1\r\n\r\n\n", b'{"index": 7, "facts": {}}\n', b"[]\n", b""):
            for _ in range(50):
                try:
                    stranger = socket.create_connection(("127.0.0.1", port))
                    break
                except ConnectionRefusedError:
                    time.sleep(0.02)
            with stranger:
                stranger.sendall(message)
        other = pool.submit(rendezvous.meet, Cluster(addresses, 1), {}, 5)
        assert chief.exception(timeout=20) is None
        assert other.exception(timeout=20) is None


def test_a_port_that_is_taken_is_an_error():
    with socket.create_server(("", 0)) as taken:
        addresses = (f"127.0.0.1:{taken.getsockname()[1]}", "127.0.0.1:1")
        (error,) = _meet(addresses, [(0, {})], timeout=0.3)
    assert "is not free" in str(error)
