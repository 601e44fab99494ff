"""Proven upper bounds of the norms of matrices, in float64, rounding included.

u is the unit roundoff, 2^-53. Inner products of length k of real or complex numbers, in any order
of summation, are off by less than 8 (k + 8) u times the product of the norms (Higham, "Accuracy
and Stability of Numerical Algorithms", sections 3.1 and 3.6), and by 2^-1022 for each product that
is taken for zero.
"""

import math

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import tensorflow as tf

from lsrs_tf.numerics.rounding import UNIT_ROUNDOFF, round_up
from lsrs_tf.progress import progress

# Up to this size all eigenvalues are computed, of many matrices at once; above it only the largest.
_SMALL = 128
# From this size on NumPy hands each product of a stack to several threads, whose waiting for each
# other takes up to five times as long as the product; TensorFlow gives matrices to threads.
_THREADED = 32
# Norms that take fewer seconds show no progress.
_SHOWN_AFTER = 10


def of_nearly_orthogonal(matrices):
    """Bounds the largest singular value of matrices that should have orthonormal columns or rows.

    For G = Q*Q (or QQ*, the smaller), norm(Q)^2 = norm(G) <= 1 + norm(G - I)_F. The slack covers
    the rounding of G and of the Frobenius norms.

    Args:
        matrices: real or complex array [..., rows, columns].

    Returns:
        (bound, smallest): bound of the largest, and about the smallest singular value.
    """
    gram = _gram(matrices)
    distance = np.linalg.norm(gram - np.eye(gram.shape[-1]), axis=(-2, -1)).max()
    slack = _slack(matrices, distance + 1)
    bound = round_up(math.sqrt(round_up(1.0 + round_up(float(distance + slack)))))
    return bound, math.sqrt(max(0.0, 1.0 - float(distance)))


def of_matrices(matrices, perturbation=0.0):
    """Bounds the largest singular value of any matrices.

    See `of_many`.

    Args:
        matrices: real or complex array [..., rows, columns].
        perturbation: float, upper bound of the spectral norm of what the entries may be off.

    Returns:
        (bound, smallest): bound of the largest, and about the smallest singular value, or None for
        matrices with more than 128 rows and columns.
    """
    return of_many([matrices], perturbation)


def of_many(groups, perturbation=0.0, count=None):
    """Bounds the largest singular value of groups of matrices, one group in memory at a time.

    An eigenvalue solver proposes a bound t of the eigenvalues of G = M*M; a Cholesky
    factorization of t I - G proves it: if that runs to its end in floating point, no eigenvalue of
    the matrix it was given is below -8 (n + 8) u trace (Higham, theorem 10.3; Rump, "Verification
    of Positive Definiteness", 2006). The proof alone counts: a proposal that is too low is raised.
    A matrix for which the proposal of those before it is proven needs no other.

    Args:
        groups: iterable of real or complex arrays [..., rows, columns], of equal rows and columns.
        perturbation: float, upper bound of the spectral norm of what the entries may be off.
        count: int, the number of groups, for the progress of what takes long, or None.

    Returns:
        as `of_matrices`.
    """
    limit, slack, smallest, factorization = 0.0, 0.0, math.inf, 0.0
    shown = progress(groups, desc="norm", total=count, delay=_SHOWN_AFTER, leave=False)
    for matrices in shown:
        size = min(matrices.shape[-2:])
        factorization = _factorization(size)
        own_slack = _slack(matrices, 0.0)
        # Before the maximum, which would pass over a NaN.
        if not math.isfinite(own_slack):
            return math.inf, 0.0
        slack = max(slack, own_slack)
        if size <= _SMALL:
            limit, least = _limit_of_small(_gram(matrices), limit, slack)
            smallest = min(smallest, least)
        else:
            smallest = None
            for matrix in matrices.reshape(-1, *matrices.shape[-2:]):
                limit = _limit_of_large(_triangle(matrix), limit, slack)
    squared = round_up(round_up(limit * (1 + 2 * factorization)) + slack)
    bound = round_up(round_up(math.sqrt(squared)) + perturbation)
    return bound, smallest if smallest is None else math.sqrt(max(0.0, smallest))


def _factorization(size):
    """Returns the relative rounding of a factorization, its trace being at most size * limit."""
    return 8 * (size + 8) * size * UNIT_ROUNDOFF


def _limit_of_small(grams, limit, slack):
    """Returns (proven limit of the eigenvalues of these and earlier matrices, their least one)."""
    eigenvalues = np.linalg.eigvalsh(grams)
    proposal = float(np.max(eigenvalues))
    if proposal > limit or not _all_below(grams, limit):
        raised = _raised(proposal, grams.shape[-1], slack, lambda t: _all_below(grams, t))
        limit = max(limit, raised)
    return limit, float(np.min(eigenvalues))


def _limit_of_large(triangle, limit, slack):
    """Returns a proven limit of the eigenvalues of a matrix and of earlier ones."""
    if limit and _is_below(triangle, limit):
        return limit
    proposal = _largest_eigenvalue(triangle)
    return max(limit, _raised(proposal, len(triangle), slack, lambda t: _is_below(triangle, t)))


def _raised(proposal, size, slack, is_proven):
    """Returns the first of ever larger limits that is proven, beginning at a proposal."""
    proposal = max(proposal, np.finfo(np.float64).tiny)
    factorization = _factorization(size)
    limit = proposal * (1 + factorization) + slack
    while not is_proven(limit):
        limit += (limit - proposal) + factorization * limit
    return limit


def _largest_eigenvalue(triangle):
    """Returns about the largest eigenvalue of a Hermitian matrix, of which a half is given."""
    (multiply,) = scipy.linalg.get_blas_funcs(
        ["hemv" if np.iscomplexobj(triangle) else "symv"], [triangle]
    )
    operator = scipy.sparse.linalg.LinearOperator(
        triangle.shape, matvec=lambda vector: multiply(1.0, triangle, vector), dtype=triangle.dtype
    )
    # The same start at each call, so that the same matrix has the same bound.
    start = np.random.default_rng(0).normal(size=len(triangle)).astype(triangle.dtype)
    try:
        (largest,) = scipy.sparse.linalg.eigsh(
            operator,
            k=1,
            which="LA",
            v0=start,
            # The proof is no finer than this.
            tol=_factorization(len(triangle)) / 16,
            return_eigenvectors=False,
        )
    except scipy.sparse.linalg.ArpackError:
        # It did not converge, or has nothing to start from, as with zeros. A proposal from below;
        # the proof raises it.
        vector = start / np.linalg.norm(start)
        largest = np.linalg.norm(operator @ vector)
    return float(largest)


def _triangle(matrix):
    """Returns the upper half of a Gram matrix of a matrix, or of its transpose."""
    rows, columns = matrix.shape
    name = "herk" if np.iscomplexobj(matrix) else "syrk"
    (multiply,) = scipy.linalg.get_blas_funcs([name], [matrix])
    # Without a copy: a matrix by rows is its transpose by columns.
    by_columns = np.ascontiguousarray(matrix).T
    transposed = {"herk": 2, "syrk": 1}[name]
    return multiply(1.0, by_columns, trans=0 if rows >= columns else transposed)


def _is_below(triangle, limit):
    (factorize,) = scipy.linalg.get_lapack_funcs(["potrf"], [triangle])
    shifted = -triangle
    shifted[np.diag_indices_from(shifted)] += limit
    _, failed_at = factorize(shifted, lower=False, clean=False, overwrite_a=True)
    return failed_at == 0


def largest_frobenius_norm(matrices):
    """Returns the largest Frobenius norm of matrices [..., rows, columns]."""
    if matrices.ndim == 2:
        # Much faster than with axes, and without a copy.
        return float(np.linalg.norm(matrices))
    return float(np.linalg.norm(matrices, axis=(-2, -1)).max(initial=0.0))


def _gram(matrices):
    rows, columns = matrices.shape[-2:]
    if np.iscomplexobj(matrices) and matrices.ndim > 2 and min(rows, columns) >= _THREADED:
        return _gram_of_parts(matrices)
    adjoint = np.conj(np.swapaxes(matrices, -1, -2))
    # What overflows is found in the result.
    with np.errstate(over="ignore", invalid="ignore"):
        return adjoint @ matrices if rows >= columns else matrices @ adjoint


def _gram_of_parts(matrices):
    """Returns the Gram matrices of stacks of large complex matrices, by products of their parts.

    Each entry is the sum of the same real products as in a complex inner product.
    """
    if matrices.shape[-2] < matrices.shape[-1]:
        matrices = np.conj(np.swapaxes(matrices, -1, -2))
    # Always on the CPU, for which a sum of products is one.
    with tf.device("CPU:0"):
        real, imaginary = tf.constant(matrices.real), tf.constant(matrices.imag)
        stacked = tf.concat([real, imaginary], axis=-2)
        squares = tf.matmul(stacked, stacked, transpose_a=True)
        mixed = tf.matmul(real, imaginary, transpose_a=True).numpy()
    gram = np.empty(mixed.shape, np.complex128)
    gram.real = squares
    with np.errstate(over="ignore", invalid="ignore"):
        gram.imag = mixed - np.swapaxes(mixed, -1, -2)
    return gram


def _slack(matrices, further):
    """Bounds the rounding of a Gram matrix, and of a comparison of numbers of size `further`."""
    # What overflows is found in the result.
    with np.errstate(over="ignore", invalid="ignore"):
        size = largest_frobenius_norm(matrices) ** 2
    products = 8 * (max(matrices.shape[-2:]) + 8)
    # Processors may take products, and factors, below the smallest normal number for zero.
    flushed = min(matrices.shape[-2:]) * np.finfo(np.float64).tiny
    return float(products * (UNIT_ROUNDOFF * (size + further) + flushed))


def _all_below(grams, limit):
    try:
        np.linalg.cholesky(limit * np.eye(grams.shape[-1]) - grams)
    except np.linalg.LinAlgError:
        return False
    return True
