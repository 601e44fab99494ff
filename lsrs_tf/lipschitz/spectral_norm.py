"""Proven upper bounds of the norms of matrices, in float64, rounding included.

u is the unit roundoff, 2^-53. Inner products of length k of real or complex numbers, in any order
of summation, are off by less than 8 (k + 8) u times the product of the norms (Higham, "Accuracy
and Stability of Numerical Algorithms", sections 3.1 and 3.6).
"""

import math

import numpy as np

from lsrs_tf.lipschitz.rounding import round_up

UNIT_ROUNDOFF = np.finfo(np.float64).eps / 2


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

    An eigenvalue solver proposes a bound t of the eigenvalues of G = M*M; a Cholesky
    factorization of t I - G proves it: if that runs to its end in floating point, no eigenvalue of
    the matrix it was given is below -8 (n + 8) u trace (Higham, theorem 10.3; Rump, "Verification
    of Positive Definiteness", 2006). Power iteration would estimate the norm from below.

    Args:
        matrices: real or complex array [..., rows, columns].
        perturbation: float, upper bound of the spectral norm of what the entries may be off.

    Returns:
        (bound, smallest): bound of the largest, and about the smallest singular value.
    """
    gram = _gram(matrices)
    if not np.all(np.isfinite(gram)):
        return math.inf, 0.0
    size = gram.shape[-1]
    eigenvalues = np.linalg.eigvalsh(gram)
    proposal = max(float(np.max(eigenvalues)), np.finfo(np.float64).tiny)
    # Relative rounding of the factorization, its trace being at most size * limit.
    factorization = 8 * (size + 8) * size * UNIT_ROUNDOFF
    slack = _slack(matrices, 0.0)
    limit = proposal * (1 + factorization) + slack
    while not _all_below(gram, limit):
        # The solver was too low; the proof alone counts.
        limit += (limit - proposal) + factorization * limit
    squared = round_up(round_up(limit * (1 + 2 * factorization)) + slack)
    smallest = math.sqrt(max(0.0, float(np.min(eigenvalues))))
    return round_up(round_up(math.sqrt(squared)) + perturbation), smallest


def _gram(matrices):
    rows, columns = matrices.shape[-2:]
    adjoint = np.conj(np.swapaxes(matrices, -1, -2))
    # What overflows is found in the result.
    with np.errstate(over="ignore", invalid="ignore"):
        return adjoint @ matrices if rows >= columns else matrices @ adjoint


def _slack(matrices, further):
    """Bounds the rounding of a Gram matrix, and of a comparison of numbers of size `further`."""
    size = np.linalg.norm(matrices, axis=(-2, -1)).max() ** 2
    return float(8 * (max(matrices.shape[-2:]) + 8) * UNIT_ROUNDOFF * (size + further))


def _all_below(gram, limit):
    try:
        np.linalg.cholesky(limit * np.eye(gram.shape[-1]) - gram)
    except np.linalg.LinAlgError:
        return False
    return True
