"""Decides where layers let Keras compile them with XLA."""

import tensorflow as tf


def worthwhile():
    """Returns whether XLA pays here: on a GPU, not on a CPU.

    Keras compiles a training step with XLA when every layer says it supports it. On a CPU the
    transforms run several times slower inside XLA than outside it.
    """
    return bool(tf.config.list_physical_devices("GPU"))
