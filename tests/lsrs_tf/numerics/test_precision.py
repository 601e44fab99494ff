import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.layers import OrthogonalConv2D
from lsrs_tf.numerics import precision


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("float64", "float64"), ("float32", "float32"), ("mixed_bfloat16", "float32")],
)
def test_transforms_are_float32_or_better(policy, expected):
    assert precision.transform_dtype(OrthogonalConv2D(1, 1, dtype=policy)) == expected


def test_halves_are_exact_and_short():
    sizes = 10.0 ** np.arange(-20, 20)[:, np.newaxis]
    values = (sizes * np.random.default_rng(0).normal(size=(40, 50))).astype(np.float32)
    high, low = (half.numpy() for half in precision._halves(tf.constant(values)))
    np.testing.assert_array_equal(high.astype(np.float64) + low, values)
    # TF32 keeps 10 bits of mantissa: the other 13 have to be zero.
    assert not np.any(high.view(np.int32) & 0x1FFF)
    assert np.all(np.abs(low) <= np.abs(values) * 2.0**-11)


def test_halves_stay_on_the_device():
    # TensorFlow adds integers of 32 bits on the processor, wherever the values are.
    halves = tf.function(precision._halves).get_concrete_function(tf.TensorSpec([8, 8]))
    for operation in halves.graph.get_operations():
        if operation.type not in ("Bitcast", "BitwiseAnd", "Const"):
            assert all(tensor.dtype != tf.int32 for tensor in operation.inputs), operation.type


def test_halves_of_ties_are_away_from_zero():
    # Halfway between two numbers with 10 bits of mantissa.
    high, low = precision._halves(tf.constant([1 + 2.0**-11, -1 - 2.0**-11, 1 + 2.0**-10]))
    np.testing.assert_array_equal(high, [1 + 2.0**-10, -1 - 2.0**-10, 1 + 2.0**-10])
    np.testing.assert_array_equal(low, [-(2.0**-11), 2.0**-11, 0])


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_split_product_is_the_product_and_has_its_gradient(monkeypatch, transpose_a, transpose_b):
    monkeypatch.setattr(precision, "tf32_is_possible", lambda dtype: dtype == tf.float32)
    rng = np.random.default_rng(0)
    left = tf.constant(rng.normal(size=(3, 5, 4) if transpose_a else (3, 4, 5)), tf.float32)
    right = tf.constant(rng.normal(size=(3, 6, 5) if transpose_b else (3, 5, 6)), tf.float32)

    def outputs_and_gradients(matmul):
        with tf.GradientTape() as tape:
            tape.watch([left, right])
            outputs = matmul(left, right, transpose_a=transpose_a, transpose_b=transpose_b)
            loss = tf.reduce_sum(outputs**3)
        return outputs, *tape.gradient(loss, [left, right])

    expected = outputs_and_gradients(tf.matmul)
    for found, other in zip(outputs_and_gradients(precision.matmul), expected, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-5, atol=1e-5)


def test_constant_product_has_the_gradient_of_its_values(monkeypatch):
    rng = np.random.default_rng(0)
    matrix = tf.constant(rng.normal(size=(4, 5)), tf.float32)
    values = tf.constant(rng.normal(size=(3, 5, 6)), tf.float32)

    def output_and_gradient():
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs = precision.constant_matmul(matrix, values)
            loss = tf.reduce_sum(outputs**3)
        return outputs, tape.gradient(loss, values)

    expected = output_and_gradient()
    monkeypatch.setattr(precision, "tf32_is_possible", lambda dtype: dtype == tf.float32)
    for found, other in zip(output_and_gradient(), expected, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-5, atol=1e-5)


def test_float64_needs_no_parts():
    assert not precision.tf32_is_possible(tf.float64)
