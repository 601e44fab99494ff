"""The devices that commands sample on."""

import tensorflow as tf


def strategy():
    """Returns the strategy that takes all GPUs of this machine, if there are several."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()
