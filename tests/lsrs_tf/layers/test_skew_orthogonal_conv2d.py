import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from lsrs_tf.layers import skew_orthogonal_conv2d
from lsrs_tf.layers.skew_orthogonal_conv2d import exponential_of_skew, truncation_error
from tests.oracles import joined, split


def _skew(size, norm):
    rng = np.random.default_rng(size)
    matrix = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    matrix -= matrix.conj().T
    return matrix * norm / np.linalg.norm(matrix, 2)


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("norm", [0.0, 0.1, 1.0, 2.0])
def test_is_the_exponential_up_to_the_proven_error(size, norm):
    skew = _skew(size, norm) if norm else np.zeros((size, size), complex)
    expected = scipy.linalg.expm(skew)
    for dtype, rounding in ((tf.float64, 1e-14), (tf.float32, 2e-6)):
        found = joined(exponential_of_skew(tf.constant(split(skew)[np.newaxis], dtype)))[0]
        truncation = 2.5 * truncation_error(skew_orthogonal_conv2d._DEGREES[dtype.name])
        assert np.linalg.norm(found - expected, 2) <= truncation + rounding


@pytest.mark.parametrize("norm", [4.0, 30.0, 1000.0])
def test_large_angles_are_limited_and_stay_orthogonal(norm):
    skew = _skew(6, norm)
    found = joined(exponential_of_skew(tf.constant(split(skew)[np.newaxis])))[0]
    np.testing.assert_allclose(found @ found.conj().T, np.eye(6), atol=1e-13)


@pytest.mark.parametrize("degree", [3, 7, 15])
def test_truncation_error_bounds_the_rest_of_the_series(degree):
    radius = np.pi / 2
    partial, term = 0j, 1 + 0j
    for power in range(degree + 1):
        partial += term
        term *= 1j * radius / (power + 1)
    rest = abs(np.exp(1j * radius) - partial)
    assert rest <= truncation_error(degree) + 1e-15
    assert rest >= truncation_error(degree) / 2 - 1e-15
    assert 2.5 * truncation_error(15) < 2e-10 and 2.5 * truncation_error(23) < 3e-19
