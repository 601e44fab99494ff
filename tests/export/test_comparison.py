import numpy as np
import pytest

from export.answer_metrics import AnswerMetrics
from export.answers import Certificates, MarginCertificates
from export.comparison import compare
from export.grpc_transport import GrpcTransport
from export.rest_transport import RestTransport
from export.warmup import predict_request

FILES = [b"0", b"1", b"2", b"3"]


class Version:
    """Answers image i with the label, radius and votes i."""

    def __init__(self, labels, radii, refused=()):
        self._labels, self._radii, self._refused = labels, radii, refused

    def certify_with(self, images, seed, n, alpha):
        (row,) = map(int, images)
        votes = np.zeros([1, 3], np.int32)
        votes[0, self._labels[row]] = n - row
        samples = 0 if row in self._refused else n + 100
        radius = np.array([self._radii[row]], np.float32)
        label = np.array([self._labels[row] if radius > 0 else -1])
        return Certificates(label, radius, radius, votes, np.array([samples], np.int32))


def test_differences_are_counted():
    first = Version([0, 1, 2, 0], [0.5, 0.5, 0.5, 0.0])
    second = Version([0, 1, 1, 0], [0.5, 0.25, 0.5, 0.0], refused=[3])
    found = compare(first, second, FILES, seed=3, n=50, alpha=0.1).summary()
    assert found.pop("median time of a request, second / first") > 0
    assert found == {
        "images": 4,
        "equal in every bit": 1,
        "refused by one only": 1,
        "refused by both": 0,
        "abstentions of the first": 1,
        "abstentions of the second": 0,
        "certified with another label": 1,
        "smallest change of a radius": -0.25,
        "largest change of a radius": 0.0,
        "largest change of votes": 48,
    }
    same = compare(first, first, FILES, seed=3, n=50, alpha=0.1).summary()
    assert same["equal in every bit"] == 4
    none = Version([0] * 4, [0.0] * 4, refused=range(4))
    assert compare(none, none, FILES, seed=3, n=50, alpha=0.1).summary()["refused by both"] == 4


def test_versions_are_warmed_up_before_they_are_timed():
    asked = []

    class Recorded(Version):
        def certify_with(self, images, seed, n, alpha):
            asked.append((self, images))
            return super().certify_with(images, seed, n, alpha)

    first, second = (Recorded([0, 0], [0.5, 0.5]) for _ in range(2))
    compare(first, second, FILES[:2], seed=3, n=50, alpha=0.1)
    warm_up = [(version, [b"0"]) for version in (first, second)]
    timed = [(version, [file]) for version in (first, second) for file in (b"0", b"1")]
    assert asked == warm_up + timed


def test_nothing_to_compare_is_an_error():
    version = Version([0], [0.5])
    with pytest.raises(ValueError, match="at least one image"):
        compare(version, version, [], seed=0, n=10, alpha=0.1)


def test_a_version_is_named_in_requests(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "export.rest_transport.requests.post", lambda url, **_: asked.append(url) or 1 / 0
    )
    for version in (None, 3):
        with pytest.raises(ZeroDivisionError):
            RestTransport("http://host:1", "digits", version).predict("certify", {}, 1.0)
    address = "http://host:1/v1/models/digits"
    assert asked == [f"{address}:predict", f"{address}/versions/3:predict"]
    transport, sent = GrpcTransport("host:1", "digits", 3), []
    monkeypatch.setattr(
        transport._service, "Predict", lambda request, **_: sent.append(request) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        transport.predict("certify", {}, 1.0)
    assert sent[0].model_spec.version.value == 3
    assert not predict_request("certify", {}, "digits").model_spec.HasField("version")


def test_metrics_count_outcomes_and_cumulate_radii():
    metrics = AnswerMetrics("digits", bounds=[0.25, 0.5])
    radius = np.array([0.25, 0.3, 0.9, 0, 0], np.float32)
    label = np.array([1, 2, 3, -1, -1])
    samples = np.array([9, 9, 9, 9, 0], np.int32)
    metrics.add(Certificates(label, radius, radius, np.zeros([5, 4], np.int32), samples))
    metrics.add(MarginCertificates(label[:1], radius[:1], np.ones(1)))
    lines = metrics.text().splitlines()
    for line in (
        'certified_images_total{model="digits",outcome="certified"} 4',
        'certified_images_total{model="digits",outcome="abstained"} 1',
        'certified_images_total{model="digits",outcome="refused"} 1',
        'certified_radius_bucket{model="digits",le="0.25"} 2',
        'certified_radius_bucket{model="digits",le="0.5"} 3',
        'certified_radius_bucket{model="digits",le="+Inf"} 4',
        'certified_radius_count{model="digits"} 4',
    ):
        assert line in lines
    with pytest.raises(ValueError, match=r"ascending.*\[0.5, 0.25\]"):
        AnswerMetrics("digits", bounds=[0.5, 0.25])
