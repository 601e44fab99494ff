import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.layers.block_reflector_conv2d import block_reflector
from tests.oracles import joined, split


@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (6, 2), (5, 5)])
def test_reflects_the_columns_and_keeps_their_complement(shape):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, *shape)) + 1j * rng.normal(size=(3, *shape))
    found = joined(block_reflector(tf.constant(split(vectors))))
    for reflector, columns in zip(found, vectors, strict=True):
        expected = np.eye(shape[0]) - 2 * columns @ np.linalg.pinv(columns)
        np.testing.assert_allclose(reflector, expected, atol=1e-12)


def test_float32_stays_orthogonal_for_ill_conditioned_columns():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 8, 2)) + 1j * rng.normal(size=(20, 8, 2))
    # Condition numbers up to 150.
    vectors[:, :, 1] = vectors[:, :, 0] + 0.03 * vectors[:, :, 1]
    found = joined(block_reflector(tf.constant(split(vectors), tf.float32)))
    values = np.linalg.svd(found.astype(np.complex128), compute_uv=False)
    np.testing.assert_allclose(values, 1, atol=5e-6)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_columns_that_depend_on_each_other_never_stretch(dtype):
    vectors = np.ones((1, 4, 2), complex)
    for matrices in (vectors, 0 * vectors, vectors + 1e-9 * np.arange(8).reshape(1, 4, 2)):
        found = joined(block_reflector(tf.constant(split(matrices), dtype)))
        assert np.linalg.norm(found[0], 2) <= 1 + 1e-6
