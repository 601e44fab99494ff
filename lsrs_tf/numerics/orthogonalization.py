"""Bounds of norms by Gram iteration, and orthogonalization by Björck's iteration.

Both are products of matrices only, so that gradients flow through them and nothing has to be
remembered from one step of a training to the next. Matrices are real, or complex and stacked as in
`complex_pairs`.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from lsrs_tf.numerics import complex_pairs
from lsrs_tf.numerics.precision import matmul

# Norms below this are taken for it, so that gradients are finite in float32, also at zero.
SMALLEST_NORM = 1e-10
# Squares of Frobenius norms below this are taken for it, for the same reason.
_SMALLEST_SQUARES = 1e-30
# Squarings of a Gram matrix. The bound is too large by at most a factor of rank^(2^-8).
_SQUARINGS = 6


class _Algebra(NamedTuple):
    """Products of matrices of a kind."""

    multiply: Callable
    adjoint: Callable
    identity_like: Callable
    rows: Callable


REAL = _Algebra(
    matmul,
    tf.linalg.matrix_transpose,
    lambda matrices: tf.eye(matrices.shape[-1], dtype=matrices.dtype),
    lambda matrices: matrices.shape[-2],
)
STACKED = _Algebra(
    complex_pairs.multiply,
    complex_pairs.adjoint,
    complex_pairs.identity_like,
    lambda matrices: matrices.shape[-2] // 2,
)


def norm_bound(matrices, algebra):
    """Returns upper bounds of the spectral norms of matrices, up to rounding.

    Source: Delattre, Barthélemy, Araujo and Allauzen, "Efficient Bound of Lipschitz Constant for
    Convolutional Layers by Gram Iteration" (2023), theorem 1. For G = M*M of the norm norm(M)^2,
    norm(G^k) = norm(M)^2k is at most the Frobenius norm of G^k; k is 64 here. A power iteration
    approaches the norm from below instead, and needs a vector from earlier steps.

    Args:
        matrices: tensor [..., rows, columns] of the algebra.
        algebra: `REAL` or `STACKED`.

    Returns:
        Tensor [..., 1, 1], at least `SMALLEST_NORM`.
    """
    norm = tf.maximum(_frobenius_norm(matrices), SMALLEST_NORM)
    gram = _gram(matrices / norm, algebra)
    exponent = 0.5
    for step in range(_SQUARINGS + 1):
        size = _frobenius_norm(gram)
        norm *= size**exponent
        if step < _SQUARINGS:
            gram /= size
            gram = algebra.multiply(gram, gram)
            exponent /= 2
    return tf.maximum(norm, SMALLEST_NORM)


def _frobenius_norm(matrices):
    squares = tf.reduce_sum(matrices**2, axis=(-2, -1), keepdims=True)
    return tf.sqrt(tf.maximum(squares, _SMALLEST_SQUARES))


def _gram(matrices, algebra):
    adjoint = algebra.adjoint(matrices)
    if algebra.rows(matrices) >= matrices.shape[-1]:
        return algebra.multiply(adjoint, matrices)
    return algebra.multiply(matrices, adjoint)


def bjorck(matrices, iterations, algebra):
    """Returns matrices with the same singular vectors, and singular values near 1 and at most 1.

    Source: Björck and Bowie, "An Iterative Algorithm for Computing the Best Estimate of an
    Orthogonal Matrix" (1971), of order 1. Each step takes a singular value s to s (3 - s^2) / 2,
    which lies in [0, 1] for s in [0, sqrt(3)] and tends to 1 from any s above 0: small ones grow by
    1.5 in each step. The matrices are divided by their `norm_bound` before.

    Args:
        matrices: tensor [..., rows, columns] of the algebra.
        iterations: int, the number of steps.
        algebra: `REAL` or `STACKED`.

    Returns:
        Tensor of the same shape and dtype.
    """
    matrices /= norm_bound(matrices, algebra)
    for _ in range(iterations):
        gram = _gram(matrices, algebra)
        if algebra.rows(matrices) >= matrices.shape[-1]:
            cubes = algebra.multiply(matrices, gram)
        else:
            cubes = algebra.multiply(gram, matrices)
        matrices = 1.5 * matrices - 0.5 * cubes
    return matrices
