import os
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from experiments import fitting, strategies
from tests.commands import run_code
from tests.training import compiled

IMAGES = np.random.default_rng(0).uniform(size=(24, 8, 8, 1)).astype(np.float32)


def _model(seed=0):
    keras.utils.set_random_seed(seed)
    sizes = fitting.sizes_of("convnet", 1, width=4)
    return compiled(fitting.build_model("convnet", sizes, 10, (8, 8, 1), 0.25, "cayley"))


def test_step_of_replicas_is_the_one_of_fit():
    train = tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(24) % 10)).batch(8)
    found = []
    for own in (False, True):
        model = _model()
        if own:
            model.train_function = strategies.step_function(model, tf.distribute.get_strategy())
        history = model.fit(train, epochs=1, shuffle=False, verbose=0).history
        found.append([*model.get_weights(), *map(np.array, model.optimizer.variables)])
        found[-1] += [history["loss"], history["accuracy"]]
        assert int(model.optimizer.iterations) == 3
    for left, right in zip(*found, strict=True):
        np.testing.assert_array_equal(left, right)


def test_one_device_needs_no_cluster(monkeypatch):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with flagsaver.flagsaver(strategy=None):
        assert strategies.cluster_of_flags() is None
        assert strategies.start(None, {}) is strategies.ALONE
    with (
        flagsaver.flagsaver(strategy="multi_worker"),
        pytest.raises(ValueError, match="it is not set"),
    ):
        strategies.cluster_of_flags()
    one = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", one)
    with flagsaver.flagsaver(strategy=None):
        assert strategies.cluster_of_flags() is None
    with (
        flagsaver.flagsaver(strategy="multi_worker"),
        pytest.raises(ValueError, match="it names one"),
    ):
        strategies.cluster_of_flags()
    monkeypatch.setenv("TF_CONFIG", one.replace('"a:1"', '"a:1", "b:1"'))
    for strategy, workers in [(None, 2), ("multi_worker", 2), ("one_device", 0), ("mirrored", 0)]:
        with flagsaver.flagsaver(strategy=strategy):
            cluster = strategies.cluster_of_flags()
        assert len(cluster.addresses if cluster else ()) == workers
    monkeypatch.setenv("TF_CONFIG", "{")
    with flagsaver.flagsaver(strategy=None), pytest.raises(ValueError, match="not JSON"):
        strategies.cluster_of_flags()


def test_errors_of_one_process_are_not_blamed_on_others():
    with pytest.raises(tf.errors.UnavailableError), strategies.explained_losses(None):
        raise tf.errors.UnavailableError(None, None, "gone")


def test_chief_goes_on_in_a_process_that_is_no_worker(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: calls.append(arguments))
    monkeypatch.setattr(sys, "argv", ["train.py", "--flagfile=a.flags", "--strategy=multi_worker"])
    monkeypatch.setenv("TF_CONFIG", "{}")
    strategies.go_on_alone("experiments.train")
    assert "TF_CONFIG" not in os.environ
    # The last of two flags counts.
    flags_given = ["--flagfile=a.flags", "--strategy=multi_worker", "--strategy=one_device"]
    assert calls == [[sys.executable, "-m", "experiments.train", *flags_given]]


TWO_DEVICES = textwrap.dedent(
    """
    import os, pathlib, sys

    # Before TensorFlow looks for devices, which it does when it is first asked for them.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import keras, numpy as np, tensorflow as tf
    from experiments import fitting, strategies
    from experiments.shares import Share

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    images = np.random.default_rng(0).uniform(size=(28, 8, 8, 1)).astype("float32")
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = []
    for workers in (strategies.ALONE, strategies.Workers(mirrored, Share(devices=2))):
        keras.utils.set_random_seed(0)
        with workers.scope():
            model = fitting.build_model(
                "orthogonal_convnet", {"width": 2, "depth": 2}, 10, (8, 8, 1), 0.0, "cayley"
            )
            model.compile(
                keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.9),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
            )
        train = tf.data.Dataset.from_tensor_slices((images, np.arange(28) % 10))
        train = workers.share.images(train.shuffle(28, seed=0), 28)
        train = workers.share.batches(train, 8)
        directory = pathlib.Path(sys.argv[1]) / str(workers.share.devices)
        # The last batch of an epoch is half of one.
        fitting.fit(model, train, 2, directory, 0, 4, workers)
        assert (directory / "checkpoints" / "epoch_0002.keras").is_file()
        history = (directory / "history.csv").read_text().replace("NA", "0").splitlines()
        found.append([*model.get_weights(), *map(np.array, model.optimizer.variables)])
        found[-1].append(np.array([line.split(",") for line in history[1:]], float))
    for left, right in zip(*found, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
    """
)


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path):
    ended = run_code(TWO_DEVICES, str(tmp_path))
    assert ended.returncode == 0, ended.stderr
