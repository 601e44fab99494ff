"""Builds and fits the models of the experiments."""

import math
import pathlib
import sys

import keras
import numpy as np

from experiments import checkpoints, strategies
from lsrs_tf import models

# Architectures and the number of their layers, as the LS-RS paper counts them.
_LAYERS = {"convnet": 4, "resnet18": 18, "wide_resnet34": 34}
# Whose encoder is always the whole backbone, so that no layers are counted.
_BACKBONES = ("fars_tiny", "fars_small", "orthogonal_convnet")
# Layers of the heads of compact_resnet, which are there in addition to those of the encoder.
_HEAD_LAYERS = {"resnet": 10, "dense": 3}
MODELS = (*_LAYERS, "compact_resnet", *_BACKBONES)
# The flags that size each model, in addition to its number of orthogonal layers.
_SIZES = {
    "convnet": ("width",),
    "resnet18": ("width",),
    "wide_resnet34": ("widen_factor",),
    "compact_resnet": ("width", "downsampling", "residual", "head"),
    **dict.fromkeys(
        ("fars_tiny", "fars_small"),
        ("width", "depth", "dense_depth", "head_units", "orthogonal_head"),
    ),
    "orthogonal_convnet": ("width", "depth", "head_units"),
}


def fraction_replaced(name, orthogonal_layers, parametrization, head=None):
    """Returns the fraction of layers in the encoder, in the paper's notation, such as '9/18'.

    Args:
        name: one of `MODELS`.
        orthogonal_layers: int, or None for a model without; the fraction is its name then.
        parametrization: str, which is named behind the fraction if it is not 'cayley'.
        head: str, kind of the head of 'compact_resnet'; None for its default.
    """
    if name in _BACKBONES:
        fraction = name
    elif name == "compact_resnet":
        fraction = f"{orthogonal_layers}/{orthogonal_layers + _HEAD_LAYERS[head or 'resnet']}"
    else:
        fraction = f"{orthogonal_layers}/{_LAYERS[name]}"
    plain = parametrization == "cayley" or orthogonal_layers == 0
    return fraction if plain else f"{fraction} {parametrization}"


def sizes_of(name, orthogonal_layers, **sizes):
    """Returns the arguments that size a model, or raises if some do not belong to it.

    Args:
        name: one of `MODELS`.
        orthogonal_layers: int, or None if it was not given.
        **sizes: values by the names of further flags, None where none was given.

    Raises:
        ValueError: if the name is unknown, or a size does not belong to the model.
    """
    if name not in MODELS:
        raise ValueError(f"Unknown model {name!r}. Known: {', '.join(MODELS)}.")
    given = {size: value for size, value in sizes.items() if value is not None}
    for size in given:
        if size not in _SIZES[name]:
            own = ", ".join(f"--{own}" for own in _SIZES[name])
            raise ValueError(f"--model={name} is sized by {own}, not by --{size}.")
    if name in _BACKBONES:
        if orthogonal_layers is not None:
            raise ValueError(
                f"--model={name} has no --orthogonal_layers: all of its convolutions are in the "
                "encoder."
            )
        return given
    if orthogonal_layers is None:
        raise ValueError(f"A {name} needs --orthogonal_layers, those that belong to its encoder.")
    return {"orthogonal_layers": orthogonal_layers, **given}


def build_model(name, sizes, num_classes, input_shape, sigma, parametrization):
    """Builds an untrained model.

    Args:
        name: one of `MODELS`.
        sizes: dict, as `sizes_of` returns it.
        num_classes: int.
        input_shape: (height, width, channels).
        sigma: float, standard deviation of the noise in the latent.
        parametrization: str, the kind of the encoder's convolutions.
        **compact: further arguments of 'compact_resnet'; None stands for its defaults.

    Returns:
        A `LatentSmoothingModel`.
    """
    return getattr(models, name)(
        num_classes=num_classes,
        input_shape=input_shape,
        sigma=sigma,
        parametrization=parametrization,
        **sizes,
    )


class StopOnDivergence(keras.callbacks.Callback):
    """Ends training with an error as soon as the loss is not finite.

    Nothing of the diverged model is saved; the last good checkpoint stays.
    """

    def on_epoch_begin(self, epoch, logs=None):
        """Remembers the epoch, counted from 0, which is the number of those that are done."""
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Checks the loss."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            kept = (
                "No epoch was finished, and there is no checkpoint: --output_dir can be the same."
                if self._epoch == 0
                else f"The last checkpoint, of epoch {self._epoch}, is kept; another rate needs "
                "another --output_dir."
            )
            raise ValueError(
                f"Training diverged: the loss became {loss} in epoch {self._epoch + 1}, at batch "
                f"{batch}. Use a lower --learning_rate. {kept}"
            )


def fit(model, train, epochs, directory, initial_epoch, steps_per_epoch, workers=strategies.ALONE):
    """Fits a compiled model with progress, TensorBoard logs and a checkpoint after every epoch.

    Args:
        model: compiled `LatentSmoothingModel`.
        train: `tf.data.Dataset` of batches, one epoch long; of the share of this worker.
        epochs: int, the epoch to stop at.
        directory: folder of the run; gets `checkpoints`, `tensorboard` and `history.csv`.
        initial_epoch: int, epochs done before.
        steps_per_epoch: int or None, to shorten the epochs. Several replicas need it.
        workers: `strategies.Workers` that fit the model together, all by this function. Only the
            chief writes.
    """
    directory = pathlib.Path(directory)
    callbacks, verbose = [StopOnDivergence()], 0
    if workers.is_chief:
        # A bar in a terminal, a line for each epoch in a log.
        verbose = 1 if sys.stdout.isatty() else 2
        callbacks += [
            keras.callbacks.TensorBoard(directory / "tensorboard"),
            keras.callbacks.CSVLogger(directory / "history.csv", append=initial_epoch > 0),
            checkpoints.CheckpointEveryEpoch(directory / "checkpoints"),
        ]
    with workers.scope():
        _build_variables(model, train)
    workers.prepare(model)
    model.fit(
        workers.batches(train.repeat() if steps_per_epoch else train),
        epochs=epochs,
        initial_epoch=initial_epoch,
        shuffle=False,
        steps_per_epoch=steps_per_epoch,
        verbose=verbose,
        callbacks=callbacks,
    )


def _build_variables(model, train):
    """Creates the variables of the optimizer and the metrics before the first step does.

    TensorFlow traces a function twice that creates variables, and to trace a step is most of what
    happens before the first one.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    _, labels, _ = keras.utils.unpack_x_y_sample_weight(train.element_spec)
    label = np.zeros([1, *labels.shape[1:]], labels.dtype.as_numpy_dtype)
    model.compute_metrics(None, label, np.zeros([1, *model.head.output_shape[1:]], np.float32))
    model.reset_metrics()
