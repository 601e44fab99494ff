"""Flags of the optimizer that leave the loss and the architecture as they are."""

import contextlib

import keras
from absl import flags

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
DEFAULTS = {"weight_decay": 0.0, "ema_momentum": None, "precision": "float32"}
NAMES = tuple(DEFAULTS)


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


def sgd(learning_rate):
    """Returns the optimizer of the flags.

    Args:
        learning_rate: float, or a schedule of one.
    """
    flag = flags.FLAGS
    average = {}
    if flag.ema_momentum is not None:
        average = {"use_ema": True, "ema_momentum": flag.ema_momentum}
    return keras.optimizers.SGD(learning_rate, momentum=flag.momentum, **average)


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
