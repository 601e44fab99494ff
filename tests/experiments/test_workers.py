import json
import os
import shutil
import signal
import socket
import textwrap
import time

import keras
import numpy as np
import pytest

from experiments import checkpoints
from tests.commands import run_command, started_code

FLAGS = [
    "--dataset=digits",
    "--model=orthogonal_convnet",
    "--width=2",
    "--depth=2",
    "--sigma=0",
    # Fewer steps than all images give: two workers leave one of these out of the last batch.
    "--epochs=7",
    "--steps_per_epoch=3",
    "--batch_size=64",
    "--ema_momentum=0.9",
]
WORKER = textwrap.dedent(
    """
    import os, runpy, sys
    os.environ["TF_CONFIG"] = sys.argv[1]
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    sys.argv = ["experiments.train", *sys.argv[2:]]
    runpy.run_module("experiments.train", run_name="__main__", alter_sys=True)
    """
)


def _configs():
    """Returns TF_CONFIG of two workers of this machine."""
    with socket.create_server(("", 0)) as first, socket.create_server(("", 0)) as second:
        ports = [server.getsockname()[1] for server in (first, second)]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(2)
    ]


def _weights(path):
    model = keras.models.load_model(path)
    return [*model.get_weights(), *map(np.array, model.optimizer.variables)]


def _losses(path):
    rows = [line.split(",")[:3] for line in path.read_text().splitlines()[1:]]
    return np.array(rows, float)


@pytest.mark.slow
def test_two_workers_train_as_one_process_and_go_on_after_a_kill(tmp_path):
    run, alone, resumed_alone = (tmp_path / name for name in ("run", "alone", "resumed_alone"))
    arguments = [f"--output_dir={run}", "--worker_timeout=60", *FLAGS]
    first, second = _configs()
    with (
        started_code(WORKER, first, *arguments) as (chief, written),
        started_code(WORKER, second, *arguments) as (other, _),
    ):
        deadline = time.monotonic() + 60
        while checkpoints.epochs_done(run / "checkpoints") < 1:
            assert chief.is_alive() and other.is_alive() and time.monotonic() < deadline, written()
            time.sleep(0.01)
        os.kill(other.pid, signal.SIGKILL)
        chief.join(60)
        assert chief.exitcode == 1, written()
        assert "Another worker failed" in written()
    done = checkpoints.epochs_done(run / "checkpoints")
    assert 1 <= done < 7
    # From the beginning, and from where the workers stopped, in one process.
    shutil.copytree(run, resumed_alone)
    before = _losses(run / "history.csv")
    for directory in (alone, resumed_alone):
        ended = run_command("experiments.train", f"--output_dir={directory}", *FLAGS)
        assert ended.returncode == 0, ended.stderr
    np.testing.assert_allclose(before, _losses(alone / "history.csv")[: len(before)], rtol=1e-5)

    first, second = _configs()
    with (
        started_code(WORKER, first, *arguments) as (chief, of_chief),
        started_code(WORKER, second, *arguments) as (other, of_other),
    ):
        for process in (chief, other):
            process.join(60)
        assert (chief.exitcode, other.exitcode) == (0, 0), of_chief() + of_other()
        assert f"Resuming after epoch {done} of 7" in of_chief()
        assert "Worker 1 of 2 trains with the chief at 127.0.0.1:" in of_other()
        assert "Worker 1 has done its part" in of_other()
        assert "Epoch 7/7" in of_chief() and "Epoch" not in of_other()
    assert {path.name for path in run.iterdir()} == {path.name for path in alone.iterdir()}
    for left, right in zip(
        _weights(run / "model.keras"), _weights(resumed_alone / "model.keras"), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)
