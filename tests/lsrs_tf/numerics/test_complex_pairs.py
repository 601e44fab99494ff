import numpy as np
import tensorflow as tf

from lsrs_tf.numerics import complex_pairs
from tests.oracles import joined, split


def _random(*shape):
    rng = np.random.default_rng(sum(shape))
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


LEFT, RIGHT = _random(5, 4, 3), _random(5, 3, 2)


def _stacked(matrices):
    return tf.constant(split(matrices))


def _adjoint(matrices):
    return matrices.conj().swapaxes(-1, -2)


def test_parts_and_stack():
    real, imaginary = complex_pairs.parts(_stacked(LEFT))
    np.testing.assert_array_equal(real, LEFT.real)
    np.testing.assert_array_equal(imaginary, LEFT.imag)
    np.testing.assert_array_equal(complex_pairs.stack(real, imaginary), split(LEFT))


def test_products():
    multiply = complex_pairs.multiply(_stacked(LEFT), _stacked(RIGHT))
    np.testing.assert_allclose(joined(multiply), LEFT @ RIGHT, atol=1e-14)
    block = complex_pairs.block(_stacked(LEFT)) @ _stacked(RIGHT)
    np.testing.assert_allclose(joined(block), LEFT @ RIGHT, atol=1e-14)
    left = complex_pairs.multiply_adjoint_left(_stacked(_adjoint(LEFT)), _stacked(RIGHT))
    np.testing.assert_allclose(joined(left), LEFT @ RIGHT, atol=1e-14)
    right = complex_pairs.multiply_adjoint_right(_stacked(LEFT), _stacked(_adjoint(RIGHT)))
    np.testing.assert_allclose(joined(right), LEFT @ RIGHT, atol=1e-14)


def test_cut():
    np.testing.assert_array_equal(
        joined(complex_pairs.cut(_stacked(LEFT), 2, 3)), LEFT[..., :2, :3]
    )


def test_adjoint_and_identity():
    np.testing.assert_array_equal(joined(complex_pairs.adjoint(_stacked(LEFT))), _adjoint(LEFT))
    identity = joined(complex_pairs.identity_like(_stacked(_random(5, 3, 3))))
    np.testing.assert_array_equal(identity, np.broadcast_to(np.eye(3), (5, 3, 3)))
