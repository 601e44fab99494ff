import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

pytest.importorskip("apache_beam")

import lsrs_tf.beam  # noqa: E402
from experiments import beam_runs, beam_test_set, certified_test_set, datasets  # noqa: E402
from experiments.beam_rows import RowFolder  # noqa: E402
from experiments.run_directory import RunDirectory  # noqa: E402
from lsrs_tf import models  # noqa: E402
from lsrs_tf.certification.certifier import Certifier  # noqa: E402
from lsrs_tf.records import reading  # noqa: E402
from tests.commands import run_command  # noqa: E402
from tests.experiments.test_certified_test_set import _with_other_image  # noqa: E402

_SETTINGS = {"n0": 10, "n": 50, "alpha": 0.01, "seed": 0, "batch_size": 50}
_INDICES = [0, 3, 7, 9, 200]
_FLAGS = ["--n0=10", "--n=20000", "--alpha=0.01", "--num_images=12"]
_TWO_PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run."""
    keras.utils.set_random_seed(0)
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    model = models.convnet(width=4)
    run.claim({"dataset": "digits", "model": "convnet", "orthogonal_layers": 2})
    model.save(run.model)
    return run


@pytest.fixture(scope="module")
def model(run):
    return keras.models.load_model(run.model)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """The file of a single process."""
    path = tmp_path_factory.mktemp("whole") / "whole.tsv"
    certified_test_set.certify_test_images(
        Certifier(model, **_SETTINGS), model, datasets.load("digits"), path, "2/4", _INDICES
    )
    return path


def _certify(run, model, path, indices=_INDICES, data=None, **changed):
    settings = {**_SETTINGS, **changed}
    data = datasets.load("digits") if data is None else data
    columns = certified_test_set.settings_of(Certifier(model, **settings), model, data, "2/4")
    return beam_test_set.certify_test_images(
        path,
        columns,
        data,
        indices,
        beam_runs.checked_options([]),
        lsrs_tf.beam.Certify(run.model, timed=True, **settings),
        chunks=3,
    )


def _without_times(path):
    rows = [line.split("\t") for line in pathlib.Path(path).read_text().splitlines()]
    return [row[:5] + row[6:] for row in rows]


def test_file_is_that_of_a_single_process_whatever_went_before(run, model, whole, tmp_path):
    path = tmp_path / "certified.tsv"
    assert _certify(run, model, path, [3, 200]) == {}
    assert _certify(run, model, path) == {}
    assert _without_times(path) == _without_times(whole)
    # Everything is there: no pipeline, and no change.
    before = path.read_bytes()
    assert _certify(run, model, path) == {}
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["certified.tsv"]


def test_rows_of_a_pipeline_that_was_interrupted_are_not_made_again(
    run, model, whole, tmp_path, monkeypatch
):
    path = tmp_path / "certified.tsv"
    folder = RowFolder(f"{path}.rows")
    folder.create()
    header, *rows = whole.read_text().splitlines(keepends=True)
    for name, row in (("0.a", rows[0]), ("0.b", rows[0]), ("9.c", rows[3])):
        pathlib.Path(folder.path, f"{name}.tsv").write_text(header + row)
    pathlib.Path(folder.path, "7.d.tsv.unfinished").write_text(header)
    folder.write_failure(7, "an error of before")
    parts, build = [], beam_test_set._build

    def noted(pipeline, chunks, **arguments):
        parts.extend(chunks)
        build(pipeline, chunks, **arguments)

    monkeypatch.setattr(beam_test_set, "_build", noted)
    assert _certify(run, model, path) == {}
    assert parts == [[3], [7], [200]]
    assert _without_times(path) == _without_times(whole)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text: text.replace("digits", "cifar10"), "data=cifar10 before, digits now"),
        (lambda text: text[:-9] + "\n", "damaged.*Remove the file"),
        (
            lambda text: text.replace("\n0\t", "\n4\t"),
            "also holds 1 images .such as 4.",
        ),
    ],
)
def test_rows_that_do_not_belong_here_are_refused(run, model, whole, tmp_path, change, error):
    path = tmp_path / "certified.tsv"
    folder = RowFolder(f"{path}.rows")
    folder.create()
    text = "".join(whole.read_text().splitlines(keepends=True)[:2])
    pathlib.Path(folder.path, "0.a.tsv").write_text(change(text))
    with pytest.raises((ValueError, FileExistsError), match=error):
        _certify(run, model, path)
    assert len(path.read_text().splitlines()) <= 1


def test_image_that_fails_loses_no_other(run, model, whole, tmp_path, monkeypatch):
    path, data = tmp_path / "certified.tsv", datasets.load("digits")
    bad = _with_other_image(data, 7, brighter=np.nan)
    monkeypatch.setattr(beam_test_set, "_checked_data", lambda *arguments: bad)
    failures = _certify(run, model, path)
    assert list(failures) == [7]
    assert "pixels that are NaN" in failures[7]
    assert [row[0] for row in _without_times(path)] == ["idx", "0", "3", "9", "200"]
    # It is tried again.
    monkeypatch.setattr(beam_test_set, "_checked_data", lambda *arguments: data)
    assert _certify(run, model, path) == {}
    assert _without_times(path) == _without_times(whole)


def test_workers_with_other_images_are_refused(run, model, tmp_path, monkeypatch):
    path, data = tmp_path / "certified.tsv", datasets.load("digits")
    other = _with_other_image(data, 7, brighter=2.0**-24)
    monkeypatch.setattr(beam_test_set, "_checked_data", lambda *arguments: other)
    with pytest.raises(ValueError, match="about other images: its image 7"):
        _certify(run, model, path)
    monkeypatch.undo()
    with pytest.raises(OSError, match="A worker has other images of digits"):
        _certify(run, model, tmp_path / "2.tsv", data=_with_other_image(data, 0, brighter=0.5))


def test_model_that_changes_on_the_way_is_refused(run, model, tmp_path):
    columns = certified_test_set.settings_of(
        Certifier(model, **_SETTINGS), model, datasets.load("digits"), "2/4"
    )
    with pytest.raises(OSError, match="would certify something else .model: .*0000' expected"):
        beam_test_set.certify_test_images(
            tmp_path / "certified.tsv",
            columns,
            datasets.load("digits"),
            _INDICES,
            beam_runs.checked_options([]),
            lsrs_tf.beam.Certify(run.model, timed=True, expected={"model": "0" * 16}, **_SETTINGS),
        )


def test_chunks_are_even_and_lose_nothing():
    for count in (1, 3, 7, 20):
        chunks = beam_test_set._chunks(list(range(10)), count)
        assert sum(chunks, []) == list(range(10))
        assert len(chunks) == min(count, 10)
        assert max(map(len, chunks)) - min(map(len, chunks)) <= 1


def _command(run, path, *options, module="certify_beam"):
    command = [sys.executable, "-m", f"experiments.{module}", f"--run_dir={run.path}"]
    return [*command, *_FLAGS, f"--outfile={path}", *(["--", *options] if options else [])]


def _workers_of(process):
    """Returns the ids of the worker processes of a command, which has a group of its own."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            ours = entry.name.isdigit() and os.getpgid(int(entry.name)) == process.pid
        except OSError:
            continue
        if ours and b"python" in words[0] and b"apache_beam.runners.worker" in b" ".join(words):
            found.append(int(entry.name))
    return found


def test_command_gives_the_file_of_one_process(run, tmp_path):
    whole, path = tmp_path / "whole.tsv", tmp_path / "certified.tsv"
    flags = ["--n0=10", "--n=50", "--alpha=0.01", "--num_images=4", f"--run_dir={run.path}"]
    for module, outfile, options in (
        ("certify", whole, []),
        ("certify_beam", path, ["--", "--runner=DirectRunner"]),
    ):
        words = [*flags, f"--outfile={outfile}", *options]
        ended = run_command(f"experiments.{module}", *words)
        assert ended.returncode == 0, ended.stderr
    assert _without_times(path) == _without_times(whole)


@pytest.mark.slow
def test_two_processes_and_one_that_is_killed(run, tmp_path):
    whole, path = tmp_path / "whole.tsv", tmp_path / "certified.tsv"
    subprocess.run(_command(run, whole, module="certify"), check=True, capture_output=True)
    command = _command(run, path, "--runner=DirectRunner", *_TWO_PROCESSES)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not list(tmp_path.glob("certified.tsv.rows/*.tsv")):
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[1]
    os.kill(_workers_of(process)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "error: the pipeline has failed: Worker subprocess exited with return code" in said
    assert "give the same command again" in said
    done = len(reading.read(path))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert done > 0 and f"{path} holds" in ended.stdout
    assert _without_times(path) == _without_times(whole)
    assert not list(tmp_path.glob("certified.tsv.rows"))


@pytest.mark.slow
def test_command_says_what_is_wrong(run, tmp_path):
    def error(*options, run=run, code="pass"):
        program = f"import sys; {code}; sys.argv = sys.argv[1:]; import runpy; "
        program += "runpy.run_module('experiments.certify_beam', run_name='__main__')"
        words = _command(run, tmp_path / "f.tsv", *options)[2:]
        ended = subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 1
        return ended.stderr.strip().splitlines()[-1]

    assert "not know these options of the pipeline: --runer." in error("--runer=DirectRunner")
    missing = error("--runner=x", code="sys.modules['apache_beam'] = None")
    assert missing.startswith("error: lsrs_tf.beam needs Apache Beam")
    assert not list(tmp_path.iterdir())
