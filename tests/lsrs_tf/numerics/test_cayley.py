import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.numerics.cayley import cayley_matrix, cayley_spectrum
from tests.oracles import joined, split


def _random(shape, scale=1.0):
    rng = np.random.default_rng(1)
    return scale * (rng.normal(size=shape) + 1j * rng.normal(size=shape))


def _by_definition(matrix):
    """The transform of one complex matrix, with NumPy."""
    if matrix.shape[0] < matrix.shape[1]:
        return _by_definition(matrix.conj().T).conj().T
    columns = matrix.shape[1]
    square, rest = matrix[:columns], matrix[columns:]
    skew = square - square.conj().T + rest.conj().T @ rest
    inverse = np.linalg.inv(np.eye(columns) + skew)
    return np.concatenate([(np.eye(columns) - skew) @ inverse, -2 * rest @ inverse])


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5), (4, 1), (1, 1)])
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 10.0, 100.0])
def test_result_is_orthogonal_and_that_of_the_definition(shape, scale):
    matrices = _random((6, *shape), scale)
    result = cayley_spectrum(tf.constant(split(matrices)))
    np.testing.assert_allclose(
        joined(result), [_by_definition(matrix) for matrix in matrices], atol=1e-11
    )
    np.testing.assert_allclose(np.linalg.svd(joined(result), compute_uv=False), 1, atol=1e-12)
    result = cayley_matrix(tf.constant(matrices.real)).numpy()
    np.testing.assert_allclose(
        result, [_by_definition(matrix) for matrix in matrices.real], atol=1e-11
    )
    np.testing.assert_allclose(np.linalg.svd(result, compute_uv=False), 1, atol=1e-12)


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize(("scale", "tolerance"), [(1, 2e-6), (3, 4e-6), (10, 1e-5), (100, 1e-4)])
def test_float32_stays_orthogonal(size, scale, tolerance):
    matrices = _random((8, size, size), scale / np.sqrt(6 * size))
    result = cayley_spectrum(tf.constant(split(matrices), tf.float32))
    values = np.linalg.svd(joined(result).astype(np.complex128), compute_uv=False)
    np.testing.assert_allclose(values, 1, atol=tolerance)


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5)])
def test_gradient_is_that_of_automatic_differentiation(shape):
    matrices, weights = _random((2, *shape)), _random((2, *shape))[::-1].copy()

    def plain(stacked):
        rows = stacked.shape[1] // 2
        matrices = tf.complex(stacked[:, :rows], stacked[:, rows:])
        if shape[0] < shape[1]:
            matrices = tf.linalg.adjoint(matrices)
        columns = matrices.shape[-1]
        top, rest = matrices[:, :columns], matrices[:, columns:]
        skew = top - tf.linalg.adjoint(top) + tf.matmul(rest, rest, adjoint_a=True)
        identity = tf.eye(columns, dtype=matrices.dtype)
        inverse = tf.linalg.inv(identity + skew)
        result = tf.concat([(identity - skew) @ inverse, -2 * rest @ inverse], axis=1)
        result = tf.linalg.adjoint(result) if shape[0] < shape[1] else result
        return tf.concat([tf.math.real(result), tf.math.imag(result)], axis=1)

    def gradient(function):
        stacked = tf.constant(split(matrices))
        with tf.GradientTape() as tape:
            tape.watch(stacked)
            # Not symmetric under anything, and not linear.
            loss = tf.reduce_sum((function(stacked) * split(weights)) ** 3)
        return tape.gradient(loss, stacked)

    np.testing.assert_allclose(gradient(cayley_spectrum), gradient(plain), atol=1e-10)
