import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import checkpoints
from lsrs_tf import models


def _model():
    model = models.convnet(width=4)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def _fit(model, directory, epochs, initial_epoch=0):
    images = np.random.default_rng(0).uniform(size=(32, 8, 8, 1)).astype(np.float32)
    model.fit(
        images,
        np.arange(32) % 10,
        epochs=epochs,
        initial_epoch=initial_epoch,
        verbose=0,
        callbacks=[checkpoints.CheckpointEveryEpoch(directory)],
    )


def test_two_newest_are_kept_and_the_newest_resumes_with_its_optimizer(tmp_path):
    model = _model()
    _fit(model, tmp_path / "checkpoints", 3)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["epoch_0002.keras", "epoch_0003.keras"]
    restored, epochs = checkpoints.restore_newest(tmp_path / "checkpoints")
    assert epochs == 3
    assert int(restored.optimizer.iterations) == int(model.optimizer.iterations) == 3
    for left, right in zip(
        [*model.weights, *model.optimizer.variables],
        [*restored.weights, *restored.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_array_equal(left, right)
    _fit(restored, tmp_path / "checkpoints", 4, initial_epoch=3)
    assert int(restored.optimizer.iterations) == 4


def test_nothing_to_restore(tmp_path):
    assert checkpoints.restore_newest(tmp_path / "nowhere") == (None, 0)


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / "epoch_0001.keras"
    path.write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(ValueError, match="epoch_0001.keras cannot be read"):
        checkpoints.restore_newest(tmp_path)
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save(path)
    with pytest.raises(ValueError, match="holds a Sequential, not a LatentSmoothingModel"):
        checkpoints.load_model(path)
    with pytest.raises(FileNotFoundError, match=r"no model at .*experiments\.train"):
        checkpoints.load_model(tmp_path / "model.keras")


def test_several_gpus_work_together(monkeypatch):
    found = [tf.config.LogicalDevice(f"/device:GPU:{index}", "GPU") for index in range(2)]
    chosen = []
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: found)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: chosen.append("mirrored"))
    checkpoints.strategy_of_all_gpus()
    assert chosen == ["mirrored"]
    del found[1]
    assert checkpoints.strategy_of_all_gpus() is tf.distribute.get_strategy()
    assert chosen == ["mirrored"]


def test_fingerprint_is_that_of_the_newest_file(tmp_path):
    assert checkpoints.fingerprint(tmp_path / "nowhere") == ""
    first, second = tmp_path / "epoch_0001.keras", tmp_path / "epoch_0002.keras"
    first.write_bytes(b"one")
    found = checkpoints.fingerprint(tmp_path)
    second.write_bytes(b"two")
    assert checkpoints.fingerprint(tmp_path) != found
    second.write_bytes(b"one")
    assert checkpoints.fingerprint(tmp_path) == found
