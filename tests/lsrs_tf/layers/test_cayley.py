import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.layers import cayley
from tests.oracles import circular_convolution

SIZES = [(4, 4), (5, 4), (4, 5), (5, 7)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("kernel_size", [(1, 1), (2, 2), (3, 3), (4, 3), (1, 4)])
def test_spectrum_of_a_kernel_is_that_of_its_circular_convolution(height, width, kernel_size):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(*kernel_size, 3, 2))
    images = rng.normal(size=(2, height, width, 3))
    spectrum = cayley.stack_spectrum(cayley.kernel_spectrum(tf.constant(kernel), height, width))
    result = cayley.apply_stacked_spectrum(tf.constant(images), spectrum)
    np.testing.assert_allclose(result, circular_convolution(images, kernel), atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5), (4, 1), (1, 1)])
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_result_is_orthogonal(shape, scale, dtype):
    rng = np.random.default_rng(1)
    matrices = rng.normal(size=(6, *shape)).astype(dtype)
    if dtype == np.complex128:
        matrices += 1j * rng.normal(size=(6, *shape))
    result = cayley.cayley(tf.constant(scale * matrices)).numpy()
    assert result.dtype == dtype
    values = np.linalg.svd(result, compute_uv=False)
    np.testing.assert_allclose(values, 1, atol=1e-12)


def test_square_result_is_the_cayley_transform_of_the_skew_part():
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    skew = matrix - matrix.conj().T
    expected = (np.eye(4) - skew) @ np.linalg.inv(np.eye(4) + skew)
    np.testing.assert_allclose(cayley.cayley(tf.constant(matrix)), expected, atol=1e-13)


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5)])
@pytest.mark.parametrize("dtype", [tf.float64, tf.complex128])
def test_gradient_is_that_of_automatic_differentiation(shape, dtype):
    rng = np.random.default_rng(3)
    matrices = tf.constant(rng.normal(size=(2, *shape)) + 1j * rng.normal(size=(2, *shape)))
    weights = tf.constant(rng.normal(size=(2, *shape)) + 1j * rng.normal(size=(2, *shape)))
    matrices, weights = tf.cast(matrices, dtype), tf.cast(weights, dtype)

    def plain(matrices):
        if shape[0] < shape[1]:
            matrices = tf.linalg.adjoint(matrices)
        columns = matrices.shape[-1]
        top, rest = matrices[:, :columns], matrices[:, columns:]
        skew = top - tf.linalg.adjoint(top) + tf.matmul(rest, rest, adjoint_a=True)
        identity = tf.eye(columns, dtype=dtype)
        inverse = tf.linalg.inv(identity + skew)
        result = tf.concat([(identity - skew) @ inverse, -2 * rest @ inverse], axis=1)
        return tf.linalg.adjoint(result) if shape[0] < shape[1] else result

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(matrices)
            # Not symmetric under anything, and not linear.
            loss = tf.reduce_sum(tf.math.real(function(matrices) * weights) ** 3)
        return tape.gradient(loss, matrices)

    np.testing.assert_allclose(cayley.cayley(matrices), plain(matrices), atol=1e-12)
    np.testing.assert_allclose(gradient(cayley.cayley), gradient(plain), atol=1e-10)
