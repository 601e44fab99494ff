import numpy as np
import pytest
from absl.testing import flagsaver

from experiments import request
from export.answers import Certificates, MarginCertificates, RobustLabels


class Served:
    """A client that certifies files of one byte, abstains for two, and refuses none."""

    def certify(self, images):
        (size,) = map(len, images)
        radius = np.array([0.123456 if size == 1 else 0], np.float32)
        samples = np.array([1_100 if size else 0], np.int32)
        label = np.array([7 if size == 1 else -1])
        return Certificates(label, radius, radius, np.zeros([1, 10], np.int32), samples)

    def certify_with(self, images, seed, n, alpha):
        return self.certify(images)

    def certify_at(self, images, radius):
        answer = self.certify(images)
        return RobustLabels(answer.radius >= radius, answer.label, answer.samples)

    def certify_margin(self, images):
        answer = self.certify(images)
        return MarginCertificates(answer.label, answer.radius, answer.radius)


@pytest.fixture
def asked(tmp_path, monkeypatch, capsys):
    """A function of flags that runs the command, and returns the cells of its table."""
    names = []
    for size in (1, 2, 0):
        names.append(str(tmp_path / f"{size}.png"))
        (tmp_path / f"{size}.png").write_bytes(b"x" * size)
    monkeypatch.setattr(request, "make_client", lambda *_: Served())

    def asked(**given):
        with flagsaver.flagsaver(server="host:1", model_name="digits", image=names, **given):
            request.main(["request"])
        lines = capsys.readouterr().out.strip().splitlines()
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]

    return asked


@pytest.fixture(autouse=True, scope="module")
def parsed():
    if not request.flags.FLAGS.is_parsed():
        request.flags.FLAGS(["request"])


def test_answers_of_files_are_printed(asked):
    header, _, *rows = asked()
    assert header == ["image", "label", "radius", "samples", "ms"]
    # Rounded down.
    assert [row[1:4] for row in rows] == [
        ["7", "0.1234", "1100"],
        ["abstains", "0.0000", "1100"],
        ["refused", "0.0000", "0"],
    ]
    assert [row[1:4] for row in asked(radius=0.1)[2:]] == [
        ["7", "yes", "1100"],
        ["abstains", "no", "1100"],
        ["refused", "no", "0"],
    ]
    assert asked(margin=True)[2][1:4] == ["7", "0.1234", "-"]


def test_versions_are_compared(asked):
    cells = dict(asked(compare_version=2)[2:])
    assert cells["images"] == cells["equal in every bit"] == "3"
    assert cells["certified with another label"] == "0"


def test_two_questions_at_once_are_refused(asked):
    for wrong in ({"radius": 0.1, "margin": True}, {"radius": 0.1, "compare_version": 2}):
        with pytest.raises(ValueError, match="Give one of"):
            asked(**wrong)
