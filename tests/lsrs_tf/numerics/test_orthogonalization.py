import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.numerics.orthogonalization import (
    REAL,
    SMALLEST_NORM,
    STACKED,
    bjorck,
    norm_bound,
)
from tests.oracles import joined, split

SHAPES = [(1, 1), (5, 5), (7, 3), (2, 6), (40, 40)]


def _matrices(shape, kind, seed=0):
    rng = np.random.default_rng(seed)
    matrices = rng.normal(size=(20, *shape))
    if kind is STACKED:
        matrices = matrices + 1j * rng.normal(size=(20, *shape))
    # Of all sizes, of rank 1, and zeros.
    matrices *= 10.0 ** rng.integers(-8, 9, size=(20, 1, 1))
    matrices[0] = np.outer(matrices[0, :, 0], matrices[0, 0])
    matrices[1] = 0
    return matrices


def _given(matrices, kind, dtype):
    return tf.constant(split(matrices) if kind is STACKED else matrices, dtype)


def _found(tensor, kind):
    return joined(tensor) if kind is STACKED else tensor.numpy()


@pytest.mark.parametrize("kind", [REAL, STACKED], ids=["real", "complex"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-12), ("float32", 1e-4)])
def test_norm_bound_is_above_the_norm_and_close(kind, shape, dtype, rounding):
    matrices = _matrices(shape, kind)
    found = norm_bound(_given(matrices, kind, dtype), kind).numpy()[:, 0, 0]
    exact = np.linalg.norm(matrices, 2, axis=(-2, -1))
    assert np.all(found >= exact * (1 - rounding))
    slack = min(shape) ** (2.0**-8) * (1 + rounding)
    assert np.all(found <= np.maximum(exact, SMALLEST_NORM) * slack)


@pytest.mark.parametrize("kind", [REAL, STACKED], ids=["real", "complex"])
@pytest.mark.parametrize("shape", SHAPES)
def test_bjorck_keeps_singular_vectors_and_takes_values_to_one(kind, shape):
    matrices = _matrices(shape, kind)[2:]
    found = _found(bjorck(_given(matrices, kind, "float64"), 30, kind), kind)
    left, _, right = np.linalg.svd(matrices, full_matrices=False)
    np.testing.assert_allclose(found, left @ right, atol=1e-5)
    assert np.linalg.norm(found, 2, axis=(-2, -1)).max() <= 1 + 1e-12


@pytest.mark.parametrize("iterations", [0, 1, 5, 40])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_number_of_steps_stretches(iterations, dtype):
    for kind in (REAL, STACKED):
        matrices = _matrices((6, 4), kind)
        found = _found(bjorck(_given(matrices, kind, dtype), iterations, kind), kind)
        norms = np.linalg.norm(found.astype(complex), 2, axis=(-2, -1))
        assert norms.max() <= 1 + (1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("size", [0.0, 1e-44, 1e-30, 1e-12, 1.0, 1e6])
@pytest.mark.parametrize("kind", [REAL, STACKED], ids=["real", "complex"])
def test_gradients_are_finite_in_float32(size, kind):
    matrices = tf.constant(size * np.random.default_rng(0).normal(size=(2, 6, 3)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(matrices)
        norm = tf.reduce_sum(norm_bound(matrices, kind))
        loss = tf.reduce_sum(bjorck(matrices, 12, kind) ** 3)
    for value in (norm, loss):
        assert np.all(np.isfinite(tape.gradient(value, matrices)))


def test_gradient_of_the_norm_is_that_of_the_largest_singular_value():
    matrix = np.random.default_rng(0).normal(size=(5, 4))
    variable = tf.constant(matrix)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        norm = norm_bound(variable, REAL)
    left, _, right = np.linalg.svd(matrix)
    np.testing.assert_allclose(tape.gradient(norm, variable), np.outer(left[:, 0], right[0]), 1e-3)
