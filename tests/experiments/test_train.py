import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.commands import run_command

COMMAND = ["experiments.train", "--flagfile=digits_ls.flags"]


def _train(directory, *arguments):
    return run_command(*COMMAND, f"--output_dir={directory}", *arguments, cwd=directory.parent)


@pytest.mark.slow
def test_whole_path_from_the_flag_file_to_the_saved_model(tmp_path):
    run = tmp_path / "run"
    small = ["--epochs=2", "--num_images=6", "--n=100"]
    ended = _train(run, *small)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"\| LS-RS +\| smoothed +\| 0.25 +\| 2/12 +\|", ended.stdout)
    names = {path.name for path in run.iterdir()}
    assert names == {
        "certified.tsv",
        "class_names.json",
        "history.csv",
        "model.keras",
        "report",
        "saved_model",
        "settings.json",
        "tensorboard",
    }
    assert (run / "saved_model" / "1" / "saved_model.pb").is_file()
    assert list((run / "tensorboard").rglob("events.out.tfevents.*"))
    again = _train(run, *small, "--noexport")
    assert again.returncode == 0, again.stderr
    assert "is trained already" in again.stdout
    assert "holds 6 images already" in again.stdout
    other = _train(run, *small, "--sigma=0.5")
    assert other.returncode == 1
    assert "sigma: 0.25 before, 0.5 now" in other.stderr


@pytest.mark.slow
def test_killed_training_resumes_after_its_last_epoch(tmp_path):
    run = tmp_path / "run"
    arguments = ["--epochs=12", "--nocertify", "--noreport", "--noexport"]
    process = subprocess.Popen(
        [sys.executable, "-m", *COMMAND, f"--output_dir={run}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(run.glob("checkpoints/epoch_0002.keras")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "model.keras").exists()
    ended = _train(run, *arguments)
    assert ended.returncode == 0, ended.stderr
    assert "Resuming after epoch" in ended.stdout
    assert "Epoch 12/12" in ended.stdout
    assert "Epoch 1/12" not in ended.stdout
    assert (run / "model.keras").is_file()
    assert not (run / "checkpoints").exists()
