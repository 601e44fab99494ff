import mpmath
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.smoothing import confidence, confidence_graph
from tests.oracles import binomial_tail


@pytest.mark.parametrize("n", [10, 1_000, 100_000])
def test_bound_agrees_with_the_one_outside_graphs_and_is_below_the_exact_one(n):
    counts = np.unique(np.linspace(0, n, 23).round())
    bounds = confidence_graph.lower_confidence_bound(
        tf.constant(counts), tf.constant(float(n), tf.float64), tf.constant(0.001, tf.float64)
    ).numpy()
    assert bounds[0] == 0
    for count, bound in zip(counts[1:], bounds[1:], strict=True):
        assert bound == pytest.approx(
            confidence.lower_confidence_bound(int(count), n, 0.001), rel=1e-10
        )
        assert binomial_tail(int(count), n, bound) <= mpmath.mpf(0.001)


def test_radius_agrees_and_is_below_the_exact_one():
    mpmath.mp.dps = 40
    p = np.array([0.0, 0.3, 0.5, 0.5 + 1e-9, 0.6, 0.9, 0.999, 1 - 1e-9, 1 - 1e-15])
    radii = confidence_graph.certified_radius(tf.constant(p), 0.25, 1.5).numpy()
    for value, radius in zip(p, radii, strict=True):
        assert radius == pytest.approx(
            confidence.certified_radius(value, 0.25, 1.5), rel=1e-11, abs=0
        )
        if value > 0.5:
            quantile = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(value) - 1)
            assert mpmath.mpf(radius) <= quantile / 4 / mpmath.mpf("1.5")


def test_float32_is_the_largest_below():
    values = np.concatenate([np.random.default_rng(0).uniform(0, 3, 1000), [0.0, 0.1, 0.5]])
    below = confidence_graph.float32_below(tf.constant(values)).numpy()
    assert below.dtype == np.float32
    assert np.all(below.astype(np.float64) <= values)
    assert np.all(np.nextafter(below, np.float32(9)).astype(np.float64) > values)
