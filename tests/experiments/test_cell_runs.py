import os
import signal
import sys
import threading
import time

import pytest

from experiments import cell_runs
from experiments.cell_runs import duration, run_training


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Puts a script in the place of Python; it gets the arguments that Python would get."""
    # Those of a training are long enough for one to end by itself.
    monkeypatch.setattr(cell_runs, "_PATIENCE", 0.2)
    monkeypatch.setattr(cell_runs, "_MORE_PATIENCE", 1)

    def write(lines):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{lines}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return tmp_path

    return write


def _signal_when(path, number):
    """Sends a signal to this process as soon as a file is there."""

    def send():
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()


def _is_running(directory):
    try:
        os.kill(int((directory / "pid").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_status_and_arguments_are_those_of_the_training(script):
    directory = script(f'echo "$@" > {"$(dirname $0)"}/arguments; exit 7')
    assert run_training(["--width=2", "--output_dir=a b"]) == 7
    arguments = (directory / "arguments").read_text()
    assert arguments == "-m experiments.train --width=2 --output_dir=a b\n"


@pytest.mark.parametrize(
    "lines",
    ["exec sleep 60", "trap '' INT; touch $0.ready; while true; do sleep 0.1; done"],
    ids=["ends", "does not listen"],
)
@pytest.mark.parametrize(
    ("number", "exception"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_training_never_outlives_its_command(script, lines, number, exception):
    # Shells start processes in the background deaf to Ctrl-C, the tests among them.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM)
    directory = script(lines)
    try:
        _signal_when(directory / ("python.ready" if "ready" in lines else "pid"), number)
        with pytest.raises(exception):
            run_training([])
    finally:
        signal.signal(signal.SIGINT, heard)
    assert not _is_running(directory)
    assert signal.getsignal(signal.SIGTERM) is before


def test_times_are_readable():
    assert duration(3725.4) == "1:02:05"
    assert duration(90_000) == "1 day, 1:00:00"
