"""Flags of an encoder that was trained before, or is not trained at all."""

import itertools
import pathlib

from absl import flags

from experiments import checkpoints, model_flags
from experiments.run_directory import RunDirectory

flags.DEFINE_string(
    "pretrained_encoder",
    None,
    "Folder of a finished training, or a .keras file: the training begins with the weights of its "
    "encoder, which has the same layers as that of --model. The head begins anew.",
)
flags.DEFINE_boolean("freeze_encoder", False, "Train the head only; the encoder stays as it is.")

# What was trained before there were these flags.
DEFAULTS = {"pretrained_encoder": None, "freeze_encoder": False}
NAMES = tuple(DEFAULTS)

# What may differ between two layers that compute the same with the same weights. Layers inside of
# others tell the shape that they were built for as well, which follows from the weights.
_OF_TRAINING = ("name", "trainable", "dtype", "build_config")


def settings_of_flags():
    """Returns the settings of these flags, dict, with one spelling for each path."""
    given = flags.FLAGS.pretrained_encoder
    return {
        "pretrained_encoder": None if given is None else str(pathlib.Path(given)),
        "freeze_encoder": flags.FLAGS.freeze_encoder,
    }


def source_of_flags():
    """Returns the path of the model with the pretrained encoder, or None if there is none.

    Raises:
        FileNotFoundError: if the flag names something that is not there.
    """
    given = flags.FLAGS.pretrained_encoder
    if given is None:
        return None
    path = pathlib.Path(given)
    if path.is_dir():
        path = RunDirectory(path).model
    if not path.is_file():
        raise FileNotFoundError(
            f"--pretrained_encoder={given}: there is no trained model at {path}. Give the folder "
            "of a finished `python -m experiments.train`, or a .keras file."
        )
    return path


def prepare(encoder):
    """Gives an encoder that was just made the weights that the flags choose, and freezes it.

    Args:
        encoder: built Keras model.

    Raises:
        ValueError: if the pretrained encoder has other layers, or there is nothing to begin with or
            to freeze.
    """
    flag = flags.FLAGS
    source = source_of_flags()
    for name in NAMES:
        if flag[name].value and not encoder.weights:
            raise ValueError(
                f"--{name} is about the weights of an encoder, and this network has none in its "
                "encoder. Give --orthogonal_layers above 0, or leave the flag out."
            )
    if source is not None:
        try:
            pretrained = checkpoints.load_model(source).encoder
        except ValueError as error:
            raise ValueError(
                f"--pretrained_encoder={flag.pretrained_encoder} gives no encoder: {error}"
            ) from error
        _check_alike(encoder, pretrained, source)
        encoder.set_weights(pretrained.get_weights())
        print(f"The encoder begins with the weights of {source}.")
    elif flag.freeze_encoder:
        print("The encoder stays at its random weights; --pretrained_encoder gives it others.")
    encoder.trainable = not flag.freeze_encoder


def _check_alike(encoder, pretrained, source):
    pairs = itertools.zip_longest(encoder.layers, pretrained.layers)
    for number, (own, other) in enumerate(pairs, 1):
        here, there = _description(own), _description(other)
        if here == there:
            continue
        name = next(name for name in {**here, **there} if here.get(name) != there.get(name))
        raise ValueError(
            f"The encoder of {source} has other layers than that of --model with the sizes of "
            f"these flags: layer {number} has {name}={there.get(name)!r} there and "
            f"{name}={here.get(name)!r} here. Give the flags of the network that it was trained "
            f"in; only the head may differ.{_other_flags(source)}"
        )


def _other_flags(source):
    """Returns a sentence with the flags of the network that the run of a model had instead.

    Empty where it is a file without its run, or they are the same.
    """
    run = RunDirectory(source.parent)
    if source != run.model:
        return ""
    try:
        settings = run.settings()
    except (OSError, ValueError):
        return ""
    names = [name for name in model_flags.NAMES if name in settings]
    differing = [name for name in names if settings[name] != getattr(flags.FLAGS, name)]
    told = ", ".join(f"{name} {settings[name]!r}" for name in differing)
    return f" Its run has other settings: {told}." if told else ""


def _description(layer):
    """Returns what is the same in two layers that compute the same with the same weights."""
    if layer is None:
        return {"class": None}
    return {
        "class": type(layer).__name__,
        "weights": [tuple(weight.shape) for weight in layer.weights],
        **_without_training(layer.get_config()),
    }


def _without_training(config):
    """Returns a configuration without what may differ, also inside the layers of a layer."""
    if isinstance(config, dict):
        return {
            name: _without_training(value)
            for name, value in config.items()
            if name not in _OF_TRAINING
        }
    if isinstance(config, (list, tuple)):
        # Tuples come back from a file as lists.
        return [_without_training(value) for value in config]
    return config
