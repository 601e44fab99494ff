import types

import numpy as np
import pytest

from experiments.benchmarks import measuring, serving
from export.answers import Certificates, MarginCertificates, ServingError


class _Served:
    """Answers like a client, now and then wrongly or not at all."""

    def __init__(self):
        self._requests = 0

    def certify_with(self, images, seed, n, alpha):
        self._requests += 1
        if self._requests % 5 == 0:
            raise ServingError("UNAVAILABLE", "gone")
        rows = len(images)
        votes = np.tile([n, 0], (rows, 1)).astype(np.int32)
        if self._requests % 7 == 0:
            votes[0, 1] += 1
        nothing = np.zeros(rows, np.float32)
        return Certificates(np.zeros(rows, np.int64), nothing, nothing, votes, np.full(rows, n))


def test_wrong_and_lost_answers_are_counted():
    images = np.zeros((4, 2, 2, 1), np.float32)
    taken, wrong, errors = serving.load(
        _Served, images, lambda client, rows: client.certify_with(rows, 0, 10, 0.1), 2, 3, 0.2
    )
    assert taken.size > 0 and wrong > 0
    assert set(errors) == {"UNAVAILABLE: gone"}


def test_requests_of_several_images_are_compared_with_their_rows():
    class ByBrightness:
        def certify_margin(self, images):
            margin = images.mean(axis=(1, 2, 3))
            return MarginCertificates(np.zeros(len(images), np.int64), margin, margin)

    images = np.random.default_rng(0).uniform(size=(4, 2, 2, 1)).astype(np.float32)
    taken, wrong, errors = serving.load(
        ByBrightness, images, lambda client, rows: client.certify_margin(rows), 3, 2, 0.2
    )
    assert taken.size > 0 and wrong == 0 and not errors


def test_time_of_samples_is_what_they_add_to_that_of_a_request(monkeypatch):
    now = [0.0]

    class Slow(_Served):
        def certify_with(self, images, seed, n, alpha):
            now[0] += 0.5 + n * 1e-4

    monkeypatch.setattr(measuring, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    found = serving.milliseconds_per_thousand(Slow(), None, 200, rounds=3)
    assert found == pytest.approx(100)
