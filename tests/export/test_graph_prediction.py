import numpy as np
import pytest
import tensorflow as tf

from export import graph_prediction
from lsrs_tf.statistics import confidence


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_label_of_all_votes_is_that_of_the_original(alpha):
    n = 24
    least = graph_prediction.least_majorities(n, alpha)
    votes = np.array(
        [
            (first, second, third)
            for first in range(n + 1)
            for second in range(n + 1 - first)
            for third in range(n + 1 - first - second)
        ]
    )
    found = tf.map_fn(
        lambda row: graph_prediction.predicted_label(row, least), tf.constant(votes, tf.int64)
    )
    expected = [confidence.predicted_label(row, n, alpha) for row in votes]
    np.testing.assert_array_equal(found, expected)
    assert set(expected) == {-1, 0, 1, 2}


def test_least_majorities_are_the_least():
    least = graph_prediction.least_majorities(120, 0.001)
    for total, first in enumerate(least.tolist()):
        if first <= total:
            assert confidence.majority_is_significant(first, total - first, 0.001)
        if 0 < first <= total + 1:
            assert not confidence.majority_is_significant(first - 1, total - first + 1, 0.001)
