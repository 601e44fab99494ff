"""Builds and fits the models of the experiments."""

import math
import pathlib
import sys

import keras

from experiments import checkpoints
from lsrs_tf import models

# Architectures and the number of their layers, as the LS-RS paper counts them.
_LAYERS = {"convnet": 4, "resnet18": 18, "wide_resnet34": 34}
MODELS = tuple(_LAYERS)


def fraction_replaced(name, orthogonal_layers, parametrization):
    """Returns the fraction of layers in the encoder, in the paper's notation, such as '9/18'.

    Args:
        name: one of `MODELS`.
        orthogonal_layers: int.
        parametrization: str, which is named behind the fraction if it is not 'cayley'.
    """
    fraction = f"{orthogonal_layers}/{_LAYERS[name]}"
    plain = parametrization == "cayley" or orthogonal_layers == 0
    return fraction if plain else f"{fraction} {parametrization}"


def build_model(
    name,
    orthogonal_layers,
    width,
    widen_factor,
    num_classes,
    input_shape,
    sigma,
    parametrization,
):
    """Builds an untrained model.

    Args:
        name: one of `MODELS`.
        orthogonal_layers: int, see the model.
        width: int, channels of the first stage, or None for the model's default.
        widen_factor: int, for 'wide_resnet34', or None for its default.
        num_classes: int.
        input_shape: (height, width, channels).
        sigma: float, standard deviation of the noise in the latent.
        parametrization: str, the kind of the encoder's convolutions.

    Returns:
        A `LatentSmoothingModel`.

    Raises:
        ValueError: if the name is unknown or a size does not belong to the model.
    """
    if name not in MODELS:
        raise ValueError(f"Unknown model {name!r}. Known: {', '.join(MODELS)}.")
    if name == "wide_resnet34":
        if width is not None:
            raise ValueError("A wide_resnet34 is sized by --widen_factor, not by --width.")
        size = {} if widen_factor is None else {"widen_factor": widen_factor}
    else:
        if widen_factor is not None:
            raise ValueError(f"A {name} is sized by --width, not by --widen_factor.")
        size = {} if width is None else {"width": width}
    return getattr(models, name)(
        orthogonal_layers=orthogonal_layers,
        num_classes=num_classes,
        input_shape=input_shape,
        sigma=sigma,
        parametrization=parametrization,
        **size,
    )


def step_decay(learning_rate, decay_epochs, steps_per_epoch, epochs):
    """Returns the schedule that divides the learning rate by 10 every `decay_epochs` epochs.

    It counts optimizer steps, which a checkpoint holds, so that a resumed run goes on correctly.
    """
    boundaries = [epoch * steps_per_epoch for epoch in range(decay_epochs, epochs, decay_epochs)]
    if not boundaries:
        return learning_rate
    values = [learning_rate * 0.1**step for step in range(len(boundaries) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


def cosine_decay(learning_rate, steps):
    """Returns the schedule that lowers the learning rate to 0 along half a cosine.

    Args:
        learning_rate: float, the initial rate.
        steps: int, optimizer steps of the whole training.
    """
    return keras.optimizers.schedules.CosineDecay(learning_rate, steps)


def one_cycle(learning_rate, steps):
    """Returns the schedule that raises the learning rate, and lowers it to almost 0.

    It rises linearly from a 25th to the whole rate in the first 30 % of the training, and falls to
    a 250,000th along half a cosine (Smith and Topin, "Super-Convergence", 2017; the numbers are
    those of PyTorch's `OneCycleLR`). The momentum stays the same.

    Args:
        learning_rate: float, the highest rate.
        steps: int, optimizer steps of the whole training.
    """
    rise = round(0.3 * steps)
    return keras.optimizers.schedules.CosineDecay(
        learning_rate / 25,
        max(1, steps - rise),
        alpha=1 / 250_000,
        warmup_target=learning_rate,
        warmup_steps=rise,
    )


class StopOnDivergence(keras.callbacks.Callback):
    """Ends training with an error as soon as the loss is not finite.

    Nothing of the diverged model is saved; the last good checkpoint stays.
    """

    def on_train_batch_end(self, batch, logs=None):
        """Checks the loss."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise ValueError(
                f"Training diverged: the loss became {loss} at batch {batch}. Use a lower "
                "--learning_rate. The last checkpoint was written before this epoch."
            )


def fit(model, train, epochs, directory, initial_epoch, steps_per_epoch):
    """Fits a compiled model with progress, TensorBoard logs and a checkpoint after every epoch.

    Args:
        model: compiled `LatentSmoothingModel`.
        train: `tf.data.Dataset` of batches, one epoch long.
        epochs: int, the epoch to stop at.
        directory: folder of the run; gets `checkpoints`, `tensorboard` and `history.csv`.
        initial_epoch: int, epochs done before.
        steps_per_epoch: int or None, to shorten the epochs.
    """
    directory = pathlib.Path(directory)
    model.fit(
        train.repeat() if steps_per_epoch else train,
        epochs=epochs,
        initial_epoch=initial_epoch,
        shuffle=False,
        steps_per_epoch=steps_per_epoch,
        # A bar in a terminal, a line for each epoch in a log.
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[
            StopOnDivergence(),
            keras.callbacks.TensorBoard(directory / "tensorboard"),
            keras.callbacks.CSVLogger(directory / "history.csv", append=initial_epoch > 0),
            checkpoints.CheckpointEveryEpoch(directory / "checkpoints"),
        ],
    )
