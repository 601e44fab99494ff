"""Flags of the optimizer: learning rates, and what leaves loss and architecture as they are."""

import contextlib

import keras
from absl import flags

from experiments import learning_rates

flags.DEFINE_float(
    "learning_rate",
    0.01,
    "Initial learning rate; with --learning_rate_schedule=one_cycle the highest.",
    lower_bound=0.0,
)
flags.DEFINE_integer(
    "learning_rate_decay_epochs",
    30,
    "Epochs after which the rate is divided by 10, for --learning_rate_schedule=step.",
    lower_bound=1,
)
flags.DEFINE_enum(
    "learning_rate_schedule",
    "step",
    ["step", "cosine", "one_cycle"],
    "step: the rate is divided by 10 from time to time; cosine: it falls to 0 along half a cosine; "
    "one_cycle: it rises from a 25th to --learning_rate in 30 % of the training, and falls to "
    "almost 0, as margin losses are usually trained.",
)
flags.DEFINE_float("momentum", 0.9, "Momentum of the optimizer.", lower_bound=0.0)
flags.DEFINE_float(
    "weight_decay",
    0.0,
    "Weight decay of the kernels of the head, as an L2 regularizer of half of it. Orthogonal "
    "kernels, biases and normalizations are left alone.",
    lower_bound=0.0,
)
flags.DEFINE_float(
    "ema_momentum",
    None,
    "The trained model has the exponential moving average of the weights with this momentum, 0.999 "
    "for instance; None means the last weights.",
    lower_bound=0.0,
    upper_bound=0.999999,
)
flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "mixed_bfloat16", "mixed_float16"],
    "Policy of Keras. Transforms of orthogonal layers and logits stay in float32; certificates are "
    "of the head in this precision.",
)

# What was trained before there were these flags.
DEFAULTS = {
    "learning_rate_schedule": "step",
    "weight_decay": 0.0,
    "ema_momentum": None,
    "precision": "float32",
}
NAMES = ("learning_rate", "learning_rate_decay_epochs", "momentum", *DEFAULTS)


@contextlib.contextmanager
def precision():
    """Makes --precision the policy of layers that are made or loaded inside."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(flags.FLAGS.precision)
    try:
        yield
    finally:
        # Certification makes layers, too.
        keras.config.set_dtype_policy(before)


def sgd(steps_per_epoch, epochs):
    """Returns the optimizer of the flags.

    Args:
        steps_per_epoch: int.
        epochs: int, of the whole training.
    """
    flag = flags.FLAGS
    average = {}
    if flag.ema_momentum is not None:
        average = {"use_ema": True, "ema_momentum": flag.ema_momentum}
    return keras.optimizers.SGD(
        _learning_rate(steps_per_epoch, epochs), momentum=flag.momentum, **average
    )


def _learning_rate(steps_per_epoch, epochs):
    flag = flags.FLAGS
    if flag.learning_rate_schedule == "cosine":
        return learning_rates.cosine_decay(flag.learning_rate, epochs * steps_per_epoch)
    if flag.learning_rate_schedule == "one_cycle":
        return learning_rates.one_cycle(flag.learning_rate, epochs * steps_per_epoch)
    return learning_rates.step_decay(
        flag.learning_rate, flag.learning_rate_decay_epochs, steps_per_epoch, epochs
    )


def add_weight_decay(head):
    """Adds the weight decay of the flags to the kernels of a built head.

    A regularizer is saved with its layer, which exceptions of an optimizer are not. Its gradient is
    the decay times the weight, as in the published trainings.

    Args:
        head: Keras layer or model.
    """
    weight_decay = flags.FLAGS.weight_decay
    if not weight_decay:
        return
    for layer in head._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            layer.kernel_regularizer = keras.regularizers.L2(weight_decay / 2)
            layer.kernel.regularizer = layer.kernel_regularizer
