"""The precision in which orthogonal layers compute, whatever the policy or the hardware prefers.

Recent GPUs round the factors of float32 matrix products to TF32 (10 bits of mantissa) unless a
switch of the whole process forbids it; that leaves singular values 3e-4 away from 1. Where a GPU is
present the products here are put together from parts that TF32 holds exactly, so that the
switch does not matter.
"""

import tensorflow as tf

# Mantissa bits of float32 that TF32 does not have.
_DROPPED_BITS = 13


def transform_dtype(layer):
    """Returns 'float64' for a float64 layer and 'float32' for every other policy.

    Half precision would leave singular values about 1e-2 away from 1, so that under mixed
    precision the transform and its application stay in float32.
    """
    return "float64" if layer.compute_dtype == "float64" else "float32"


def matmul(left, right, transpose_a=False, transpose_b=False):
    """Multiplies matrices `[..., rows, inner]` and `[..., inner, columns]` of equal batches.

    The arguments are those of `tf.matmul`; the precision is that of the dtype, never TF32.
    """
    if not tf32_is_possible(left.dtype):
        return tf.matmul(left, right, transpose_a=transpose_a, transpose_b=transpose_b)
    if transpose_a:
        left = tf.linalg.matrix_transpose(left)
    if transpose_b:
        right = tf.linalg.matrix_transpose(right)
    return _split_product(left, right)


def constant_matmul(matrix, values):
    """Multiplies a constant matrix `[rows, inner]` with each of `values` `[..., inner, columns]`.

    No gradient flows to the matrix; the precision is that of the dtype, never TF32.
    """
    if not tf32_is_possible(values.dtype):
        return tf.matmul(matrix, values)

    @tf.custom_gradient
    def product(values):
        transposed = tf.transpose(matrix)
        return _sum_of_parts(matrix, values), lambda upstream: _sum_of_parts(transposed, upstream)

    return product(values)


def tf32_is_possible(dtype):
    """Returns whether products of this dtype may be rounded to TF32: float32 where a GPU is."""
    return dtype == tf.float32 and bool(tf.config.list_physical_devices("GPU"))


def tf32_is_used():
    """Returns whether products outside of this file are rounded to TF32 where a GPU can."""
    return tf32_is_possible(tf.float32) and (
        tf.config.experimental.tensor_float_32_execution_enabled()
    )


@tf.custom_gradient
def _split_product(left, right):
    def gradient(upstream):
        return (
            _sum_of_parts(upstream, tf.linalg.matrix_transpose(right)),
            _sum_of_parts(tf.linalg.matrix_transpose(left), upstream),
        )

    return _sum_of_parts(left, right), gradient


def _sum_of_parts(left, right):
    left_high, left_low = _halves(left)
    right_high, right_low = _halves(right)
    # The product of the low halves is below the rounding of float32.
    small = tf.matmul(left_high, right_low) + tf.matmul(left_low, right_high)
    return tf.matmul(left_high, right_high) + small


def _halves(values):
    """Splits float32 values into a part that TF32 holds exactly, and the small rest."""
    # To the nearest, so that the rest is as small as it can be: adding what was cut off carries to
    # the last bit that is kept if that was half of it or more. Integers are not added, which
    # TensorFlow does on the processor, with copies there and back.
    high = _without_dropped_bits(values + (values - _without_dropped_bits(values)))
    return high, values - high


def _without_dropped_bits(values):
    """Returns float32 values with zeros for the bits that TF32 does not have."""
    bits = tf.bitwise.bitwise_and(tf.bitcast(values, tf.int32), -(1 << _DROPPED_BITS))
    return tf.bitcast(bits, tf.float32)


def xla_is_worthwhile():
    """Returns whether XLA pays for heads: on a GPU, not on a CPU.

    Measured: on an H100 passes of a ResNet18 took .85 of the time, on a CPU several times as much.
    """
    return bool(tf.config.list_physical_devices("GPU"))
