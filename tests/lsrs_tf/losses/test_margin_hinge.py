import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import losses


def test_nothing_is_pushed_beyond_the_margin():
    logits = tf.constant([[2.0, 0.9, 0.0], [2.0, 1.1, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = losses.MarginHinge(1.0, reduction="sum")([0, 0], logits)
    expected = [[0, 0, 0], [-1, 1, 0]]
    np.testing.assert_array_equal(tape.gradient(value, logits), expected)


@pytest.mark.parametrize("margin", [0, -1.0, np.nan, np.inf, None])
def test_impossible_margins_are_refused(margin):
    with pytest.raises(ValueError, match="`margin` of MarginHinge.*above 0"):
        losses.MarginHinge(margin)
