"""Models on disk: checkpoints, from which a run resumes, and the devices they are loaded on."""

import hashlib
import pathlib
import re

import keras
import tensorflow as tf

from lsrs_tf import models
from lsrs_tf.files import written_whole

_PATTERN = re.compile(r"epoch_(\d+)\.keras")


class CheckpointEveryEpoch(keras.callbacks.Callback):
    """Saves model and optimizer after every epoch and keeps the two newest checkpoints.

    Args:
        directory: folder of the checkpoints.
    """

    def __init__(self, directory):
        super().__init__()
        self.directory = pathlib.Path(directory)

    def on_epoch_end(self, epoch, logs=None):
        """Saves the checkpoint of the epoch (counted from 0) under the number of epochs done."""
        with written_whole(self.directory / f"epoch_{epoch + 1:04d}.keras") as path:
            self.model.save(path)
        for old in sorted(_checkpoints(self.directory))[:-2]:
            _checkpoints(self.directory)[old].unlink(missing_ok=True)


def restore_newest(directory):
    """Loads the newest checkpoint.

    Args:
        directory: folder of the checkpoints; it need not exist.

    Returns:
        (compiled model, epochs done), or (None, 0) where there is no checkpoint.

    Raises:
        ValueError: if a checkpoint cannot be read.
    """
    checkpoints = _checkpoints(pathlib.Path(directory))
    if not checkpoints:
        return None, 0
    epoch = max(checkpoints)
    try:
        return load_model(checkpoints[epoch]), epoch
    except ValueError as error:
        raise ValueError(
            f"{error} Remove it to start from an older checkpoint or from the beginning."
        ) from error


def epochs_done(directory):
    """Returns how many epochs the newest checkpoint of a folder has behind it, or 0."""
    return max(_checkpoints(pathlib.Path(directory)), default=0)


def fingerprint(directory):
    """Returns a hash of the newest checkpoint of a folder, or an empty text where there is none."""
    checkpoints = _checkpoints(pathlib.Path(directory))
    return file_fingerprint(checkpoints[max(checkpoints)]) if checkpoints else ""


def file_fingerprint(path):
    """Returns 16 hexadecimal digits that change with any byte of a file."""
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def load_model(path):
    """Loads a `.keras` file of a `LatentSmoothingModel`.

    Args:
        path: the file.

    Returns:
        The model.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or holds something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no model at {path}. Train one with `python -m experiments.train`."
        )
    try:
        model = keras.models.load_model(path)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a Keras model: {type(error).__name__}: {error}. It is "
            "damaged, or it was not written by this version."
        ) from error
    if not isinstance(model, models.LatentSmoothingModel):
        raise ValueError(
            f"{path} holds a {type(model).__name__}, not a LatentSmoothingModel. Wrap encoder and "
            "head in lsrs_tf.models.LatentSmoothingModel and save that."
        )
    return model


def strategy_of_all_gpus():
    """Returns the strategy that takes all GPUs of this machine, if there are several."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _checkpoints(directory):
    if not directory.is_dir():
        return {}
    return {
        int(match.group(1)): path
        for path in directory.iterdir()
        if (match := _PATTERN.fullmatch(path.name))
    }
