import functools

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from export import graph_confidence
from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.radius_scale import RadiusScale
from tests.oracles import binomial_tail

ALPHAS = [0.9, 0.5, 0.05, 1e-3, 1e-6, 1e-9, 1e-15, 1e-30, 1e-100]


@functools.cache
def _lower_bounds():
    return tf.function(
        graph_confidence.lower_confidence_bound,
        input_signature=[tf.TensorSpec([None], kind) for kind in (tf.int64, tf.int32, tf.float64)],
    )


def _bounds(counts, n, alpha):
    rows = len(counts)
    alphas = tf.fill([rows], tf.constant(alpha, tf.float64))
    return _lower_bounds()(tf.constant(counts, tf.int64), tf.fill([rows], n), alphas).numpy()


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("n", [1, 2, 7, 100, 1_000, 100_000, 1_000_000])
def test_bound_is_below_the_original_and_close(n, alpha):
    counts = sorted({0, 1, n // 3, n // 2, round(0.6 * n), round(0.999 * n), n - 1, n})
    for count, bound in zip(counts, _bounds(counts, n, alpha), strict=True):
        expected = confidence.lower_confidence_bound(count, n, alpha)
        # The original is rounded down a little, too.
        assert bound <= expected * (1 + 1e-10)
        assert bound >= expected * (1 - 1e-6) - 1e-15


@pytest.mark.parametrize("alpha", [0.5, 1e-3, 1e-15, 1e-100])
def test_bound_is_one_in_exact_arithmetic(alpha):
    for n in (50, 2_000, 100_000):
        counts = [round(share * n) for share in (0.51, 0.8, 0.99, 1.0)]
        for count, bound in zip(counts, _bounds(counts, n, alpha), strict=True):
            assert binomial_tail(count, n, bound) <= alpha


def test_every_count_of_a_thousand():
    counts = np.arange(1_001)
    for alpha in (1e-3, 1e-12):
        expected = [confidence.lower_confidence_bound(int(k), 1_000, alpha) for k in counts]
        found = _bounds(counts, 1_000, alpha)
        assert np.all(found <= np.array(expected) * (1 + 1e-10))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-15)


def test_the_function_it_rests_on_is_as_accurate_as_its_margin_takes_it_for():
    rng = np.random.default_rng(0)
    n = np.concatenate([10 ** rng.uniform(0, 6, 20_000), [1e6] * 2_000]).astype(np.int64)
    k = np.maximum(1, np.rint(n * rng.uniform(0.3, 1, len(n)))).astype(np.float64)
    alpha = 10 ** rng.uniform(-100, -0.01, len(n))
    p = scipy.special.betaincinv(k, n - k + 1, alpha)
    exact = scipy.special.betainc(k, n - k + 1, p)
    found = tf.math.betainc(tf.constant(k), tf.constant(n - k + 1), tf.constant(p)).numpy()
    assert np.abs(found / exact - 1).max() < 2e-8


@pytest.mark.parametrize("loss", [0.0, 0.01])
def test_radius_is_below_the_original_and_close(loss):
    p = [0.0, 0.3, 0.5, 0.5 + 1e-12, 0.501, 0.7, 0.99, 1 - 1e-9, 1 - 1e-15, float("nan")]
    found = graph_confidence.certified_radius(
        tf.constant(p, tf.float64), RadiusScale(0.25, 1.25, loss)
    )
    for probability, radius in zip(p, found.numpy(), strict=True):
        expected = RadiusScale(0.25, 1.25, loss).radius(probability)
        assert 0 <= radius <= expected
        assert radius == pytest.approx(expected, rel=3e-8, abs=1e-9)


def test_float32_is_the_largest_below():
    values = np.array([0.0, 0.1, 0.5, 1e-30, *np.random.default_rng(0).uniform(0, 3, 1000)])
    below = graph_confidence.float32_below(tf.constant(values)).numpy()
    np.testing.assert_array_equal(below, [confidence.float32_below(value) for value in values])


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_label_of_all_votes_is_that_of_the_original(alpha):
    n = 24
    least = graph_confidence.least_majorities(n, alpha)
    votes = np.array(
        [
            (first, second, third)
            for first in range(n + 1)
            for second in range(n + 1 - first)
            for third in range(n + 1 - first - second)
        ]
    )
    labels = tf.function(
        lambda rows: tf.map_fn(lambda row: graph_confidence.predicted_label(row, least), rows)
    )
    found = labels(tf.constant(votes, tf.int64))
    expected = [confidence.predicted_label(row, n, alpha) for row in votes]
    np.testing.assert_array_equal(found, expected)
    assert set(expected) == {-1, 0, 1, 2}


def test_least_majorities_are_the_least():
    least = graph_confidence.least_majorities(120, 0.001)
    for total, first in enumerate(least.tolist()):
        if first <= total:
            assert confidence.majority_is_significant(first, total - first, 0.001)
        if 0 < first <= total + 1:
            assert not confidence.majority_is_significant(first - 1, total - first + 1, 0.001)
