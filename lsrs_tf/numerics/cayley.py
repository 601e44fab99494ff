"""The Cayley transform, which makes any matrix orthogonal.

Source: Trockman and Kolter, "Orthogonalizing Convolutional Layers with the Cayley Transform"
(2021), sections 3 and 4; equations 10 and 11 of the LS-RS paper (Zeng, Su, Huang 2021).

For a square matrix W the transform is Q = (I - A)(I + A)^-1 with A = W - W*. For a tall one,
W = [U; V], it has A = U - U* + V*V and Q = [(I - A)(I + A)^-1; -2 V (I + A)^-1]. A wide matrix is
transformed through its adjoint. Tall and square results have orthonormal columns, wide ones
orthonormal rows.

Every singular value of I + A is at least 1, because the Hermitian part of A is positive
semidefinite: in exact arithmetic the inverse exists and its norm is at most 1. In floating point
the result is the less orthogonal, the larger W is: by about 1e-7 times its norm in float32.
"""

import tensorflow as tf

from lsrs_tf.numerics import complex_pairs
from lsrs_tf.numerics.precision import matmul


def cayley_matrix(matrix):
    """Returns the Cayley transform of real matrices.

    Args:
        matrix: real tensor [..., rows, columns].

    Returns:
        Tensor of the same shape and dtype.
    """
    rows, columns = matrix.shape[-2:]
    if rows < columns:
        return tf.linalg.matrix_transpose(cayley_matrix(tf.linalg.matrix_transpose(matrix)))
    square, rest = matrix[..., :columns, :], matrix[..., columns:, :]
    skew = square - tf.linalg.matrix_transpose(square) + matmul(rest, rest, transpose_a=True)
    identity = tf.eye(columns, dtype=matrix.dtype)
    inverse = tf.linalg.solve(identity + skew, tf.broadcast_to(identity, tf.shape(skew)))
    # (I - A)(I + A)^-1 = 2 (I + A)^-1 - I.
    return tf.concat([2 * inverse - identity, -2 * matmul(rest, inverse)], axis=-2)


def cayley_spectrum(spectrum):
    """Returns the Cayley transform of complex matrices.

    The gradient is written out in terms of (I + A)^-1, so that it needs no second solve and
    stores one square matrix per input matrix.

    Args:
        spectrum: stacked matrices [..., 2 * rows, columns], see `complex_pairs`.

    Returns:
        Stacked matrices of the same shape and dtype.
    """
    rows, columns = spectrum.shape[-2] // 2, spectrum.shape[-1]
    if rows < columns:
        return complex_pairs.adjoint(_cayley_tall(complex_pairs.adjoint(spectrum)))
    return _cayley_tall(spectrum)


@tf.custom_gradient
def _cayley_tall(spectrum):
    rows, columns = spectrum.shape[-2] // 2, spectrum.shape[-1]
    is_square = rows == columns
    square, rest = _split(spectrum, columns)
    skew = square - complex_pairs.adjoint(square)
    if not is_square:
        skew += complex_pairs.multiply_adjoint_left(rest, rest)
    inverse = _inverse_of_identity_plus(skew)
    # (I - A)(I + A)^-1 = 2 (I + A)^-1 - I.
    top = 2 * inverse - complex_pairs.identity_like(inverse)
    result = top if is_square else _join(top, -2 * complex_pairs.multiply(rest, inverse))

    def gradient(upstream):
        upstream_top, upstream_rest = _split(upstream, columns)
        by_inverse = 2 * upstream_top
        if not is_square:
            by_inverse -= 2 * complex_pairs.multiply_adjoint_left(rest, upstream_rest)
        # d(I + A)^-1 = -(I + A)^-1 dA (I + A)^-1
        by_skew = -complex_pairs.multiply_adjoint_right(
            complex_pairs.multiply_adjoint_left(inverse, by_inverse), inverse
        )
        by_square = by_skew - complex_pairs.adjoint(by_skew)
        if is_square:
            return by_square
        by_rest = complex_pairs.multiply(
            rest, by_skew + complex_pairs.adjoint(by_skew)
        ) - 2 * complex_pairs.multiply_adjoint_right(upstream_rest, inverse)
        return _join(by_square, by_rest)

    return result, gradient


def _split(stacked, rows):
    """Splits complex matrices, stacked, after so many rows."""
    real, imaginary = complex_pairs.parts(stacked)
    return (
        complex_pairs.stack(real[..., :rows, :], imaginary[..., :rows, :]),
        complex_pairs.stack(real[..., rows:, :], imaginary[..., rows:, :]),
    )


def _join(top, rest):
    """Inverts `_split`."""
    (top_real, top_imaginary), (real, imaginary) = map(complex_pairs.parts, (top, rest))
    return tf.concat([top_real, real, top_imaginary, imaginary], axis=-2)


def _inverse_of_identity_plus(stacked):
    """Inverts M = I + A through two real solves of half the size.

    With M = X + iY the inverse is N = R - i X^-1 Y R for R = (X + Y X^-1 Y)^-1. X and that Schur
    complement inherit from M that their symmetric part is at least I, so that their inverses
    exist and have a norm of at most 1. It costs half as much as one solve of [[X, -Y], [Y, X]].
    """
    real, imaginary = complex_pairs.parts(stacked)
    identity = tf.eye(stacked.shape[-1], dtype=stacked.dtype)
    real += identity
    quotient = tf.linalg.solve(real, imaginary)
    complement = real + matmul(imaginary, quotient)
    inverse = tf.linalg.solve(complement, tf.broadcast_to(identity, tf.shape(complement)))
    return complex_pairs.stack(inverse, -matmul(quotient, inverse))
