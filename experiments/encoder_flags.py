"""Flags of an encoder that was trained before, or is not trained at all."""

import itertools
import pathlib

from absl import flags

from experiments import checkpoints
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

# What may differ between two layers that compute the same with the same weights.
_OF_TRAINING = ("name", "trainable", "dtype")


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
        pretrained = checkpoints.load_model(source).encoder
        _check_alike(encoder, pretrained, source)
        encoder.set_weights(pretrained.get_weights())
        print(f"The encoder begins with the weights of {source}.")
    encoder.trainable = not flag.freeze_encoder


def _check_alike(encoder, pretrained, source):
    pairs = itertools.zip_longest(encoder.layers, pretrained.layers)
    for number, (own, other) in enumerate(pairs, 1):
        if _description(own) != _description(other):
            raise ValueError(
                f"The encoder of {source} has other layers than that of --model with the sizes of "
                f"these flags: layer {number} is {_named(other)} there and {_named(own)} here. "
                "Give the flags of the network that it was trained in; only the head may differ."
            )


def _named(layer):
    return "missing" if layer is None else f"'{layer.name}' {_description(layer)}"


def _description(layer):
    if layer is None:
        return None
    shapes = [tuple(weight.shape) for weight in layer.weights]
    return type(layer).__name__, _without_training(layer.get_config()), shapes


def _without_training(config):
    """Returns a configuration without what may differ, also inside the layers of a layer."""
    if isinstance(config, dict):
        return {
            name: _without_training(value)
            for name, value in config.items()
            if name not in _OF_TRAINING
        }
    return config
