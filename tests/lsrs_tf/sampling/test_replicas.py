import keras
import pytest
import tensorflow as tf

from lsrs_tf.sampling.replicas import check_replicas


def test_strategies_of_other_kinds_are_refused():
    head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    # Several machines count the votes of one head only in part.
    with pytest.raises(ValueError, match="MirroredStrategy.*Received: OneDeviceStrategy"):
        check_replicas(tf.distribute.OneDeviceStrategy("CPU:0"), head)
