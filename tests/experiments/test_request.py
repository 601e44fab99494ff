import numpy as np
import pytest
from absl.testing import flagsaver

from experiments import command_line
from export.answers import Certificates, MarginCertificates, RobustLabels
from tests.commands import imported_command


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


@pytest.fixture(scope="module")
def command():
    with imported_command("experiments.request") as module:
        yield module


@pytest.fixture
def printed(command, tmp_path, monkeypatch, capsys):
    """A function of flags that runs the command, and returns what it prints and its status."""
    names = []
    for size in (1, 2, 0):
        names.append(str(tmp_path / f"{size}.png"))
        (tmp_path / f"{size}.png").write_bytes(b"x" * size)
    monkeypatch.setattr(command, "make_client", lambda *_: Served())

    def printed(images=3, **given):
        given.update(server="host:1", model_name="digits", image=names[:images])
        status = 0
        with flagsaver.flagsaver(**given):
            try:
                command.main(["request"])
            except SystemExit as ended:
                status = ended.code
        return capsys.readouterr().out.strip(), status

    return printed


@pytest.fixture
def asked(printed):
    """A function of flags that runs the command, and returns the cells of its table."""

    def asked(**given):
        lines = printed(**given)[0].splitlines()
        return [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in lines
            if line.startswith("|")
        ]

    return asked


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


def test_the_radius_of_the_question_is_not_rounded(asked):
    assert asked(radius=0.4999996)[0][2] == "certain up to 0.4999996"


def test_refused_images_are_explained_and_fail(printed):
    for given, reason in (
        ({}, "does not decode"),
        ({"radius": 0.1}, "radius 0.1 is negative or beyond what n samples prove"),
        ({"compare_version": 2, "n": 77}, "--n=77 is above what the export allows"),
    ):
        text, status = printed(**given)
        said = text.rpartition("\n\n")[2]
        assert said.startswith("Refused: 1 of 3.") and reason in said and "model_card.md" in said
        assert status == command_line.REFUSED
        text, status = printed(images=2, **given)
        assert "Refused:" not in text and status == 0


def test_settings_of_comparisons_are_not_ignored_without_one(printed):
    for given in ({"n": 1_000}, {"seed": 3, "radius": 0.1}, {"alpha": 0.1, "margin": True}):
        with pytest.raises(ValueError, match="Received: --.*give --compare_version"):
            printed(**given)
    assert "| refused by both" in printed(n=1_000, seed=3, alpha=0.1, compare_server="host:2")[0]
