"""Complex matrices as pairs of real ones, which are faster to multiply and compile under XLA.

A *stacked* matrix `[..., 2 * rows, columns]` holds the real part above the imaginary part.
"""

import tensorflow as tf

from lsrs_tf.numerics.precision import matmul


def stack(real, imaginary):
    """Returns the stacked matrix of a real and an imaginary part `[..., rows, columns]`."""
    return tf.concat([real, imaginary], axis=-2)


def parts(stacked):
    """Returns real and imaginary part `[..., rows, columns]` of a stacked matrix."""
    # Not sliced: the gradient of slices is much slower than that of a split.
    return tf.split(stacked, 2, axis=-2)


def block(stacked):
    """Returns `[[real, -imaginary], [imaginary, real]]`, which multiplies stacked matrices."""
    real, imaginary = parts(stacked)
    return tf.concat([stacked, stack(-imaginary, real)], axis=-1)


def adjoint(stacked):
    """Returns the conjugate transpose, stacked."""
    real, imaginary = parts(stacked)
    return stack(tf.linalg.matrix_transpose(real), -tf.linalg.matrix_transpose(imaginary))


def multiply(left, right):
    """Returns the product of two stacked matrices, stacked."""
    real, imaginary = parts(right)
    by_real, by_imaginary = parts(matmul(left, real)), parts(matmul(left, imaginary))
    return stack(by_real[0] - by_imaginary[1], by_real[1] + by_imaginary[0])


def cut(stacked, rows, columns):
    """Returns the first rows and columns of a stacked matrix, stacked."""
    real, imaginary = parts(stacked)
    return stack(real[..., :rows, :columns], imaginary[..., :rows, :columns])


def multiply_adjoint_left(left, right):
    """Returns the product of the adjoint of `left` with `right`, all stacked."""
    left_real, left_imaginary = parts(left)
    real, imaginary = parts(right)
    return stack(
        matmul(left, right, transpose_a=True),
        matmul(left_real, imaginary, transpose_a=True)
        - matmul(left_imaginary, real, transpose_a=True),
    )


def multiply_adjoint_right(left, right):
    """Returns the product of `left` with the adjoint of `right`, all stacked."""
    real, imaginary = parts(right)
    by_real = parts(matmul(left, real, transpose_b=True))
    by_imaginary = parts(matmul(left, imaginary, transpose_b=True))
    return stack(by_real[0] + by_imaginary[1], by_real[1] - by_imaginary[0])


def identity_like(stacked):
    """Returns the stacked identity of the shape and dtype of a stacked square matrix."""
    size = stacked.shape[-1]
    return tf.broadcast_to(tf.eye(2 * size, size, dtype=stacked.dtype), tf.shape(stacked))
