import numpy as np
import pytest
import tensorflow as tf

from export import graph_margins
from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.margin_scale import MarginScale

CLASSES = 6


def _scale(rng, size=1.0, loss=1e-13, largest_radius=5.0):
    bounds = size * rng.uniform(0.1, 3, size=(CLASSES, CLASSES))
    return MarginScale(bounds + bounds.T, loss, largest_radius)


def _found(logits, scale):
    return [
        value.numpy()
        for value in tf.function(lambda logits: graph_margins.proven(logits, scale))(
            tf.constant(logits, tf.float64)
        )
    ]


def _expected(logits, scale):
    """What is to be served: the proofs, but for radii that float32 cannot hold."""
    proofs = [scale.proven(row) for row in logits]
    radius = np.array([confidence.float32_below(proof.radius) for proof in proofs])
    held = radius >= graph_margins.SMALLEST_RADIUS
    label = np.where(held, [proof.label for proof in proofs], -1)
    margin = np.where(held, [proof.margin for proof in proofs], 0.0)
    return label, np.where(held, radius, np.float32(0)), margin


def _check(logits, scale):
    found = _found(logits, scale)
    for value, expected in zip(found, _expected(logits, scale), strict=True):
        np.testing.assert_array_equal(value, expected)
        assert value.dtype == expected.dtype
    return found


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_every_bit_is_that_of_python(size):
    rng = np.random.default_rng(0)
    label, radius, margin = _check(rng.normal(size=(3_000, CLASSES)), _scale(rng, size))
    assert (label >= 0).all() and (radius > 0).all() and (margin > 0).all()
    # Equal radii of two rivals, the first of which is named.
    equal = MarginScale(np.full((CLASSES, CLASSES), 0.7), 0.0, 9.0)
    _check(rng.integers(0, 3, size=(1_000, CLASSES)).astype(np.float64), equal)
    _check(1e-13 * rng.normal(size=(1_000, CLASSES)), _scale(rng))


def test_what_proves_nothing_abstains_and_harms_no_neighbour():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(8, CLASSES))
    clean = _found(logits, _scale(np.random.default_rng(2)))
    # Ties of the largest, with and without the sign of zero, and values that are not finite.
    logits[0, :2] = 9
    logits[1] = 0
    logits[2] = [0.0, -0.0, -1, -1, -1, -1]
    logits[3, 4], logits[4, 4], logits[5, 4] = np.nan, np.inf, -np.inf
    # Within the loss.
    logits[6] = 0
    logits[6, 3] = 1e-14
    found = _check(logits, _scale(np.random.default_rng(2)))
    assert found[0][:7].tolist() == [-1] * 7
    for value, before in zip(found, clean, strict=True):
        assert not np.any(value[:7] > 0)
        assert value[7] == before[7]


@pytest.mark.parametrize("pair", [5e-324, 1e-310, 1e-300, 1e-150, 1e150, 1e300, 1.7e308])
@pytest.mark.parametrize("loss", [0.0, 5e-324, 1e-310, 1e-200, 1.0, 1e300, np.inf])
def test_hostile_scales_never_give_more_than_python(pair, loss):
    rng = np.random.default_rng(3)
    scale = MarginScale(np.full((CLASSES, CLASSES), pair), loss, 3.0)
    sizes = [[5e-324], [1e-310], [3e-308], [1e-200], [1e-40], [1.0], [1e40], [1e308]]
    logits = np.concatenate([size * rng.uniform(-1, 1, (4, CLASSES)) for size in np.array(sizes)])
    with np.errstate(over="ignore"):
        found = _found(logits, scale)
        expected = _expected(logits, scale)
    assert np.all(found[1] <= expected[1])
    assert np.all((found[0] == -1) == (found[1] == 0))
    certain = found[0] >= 0
    np.testing.assert_array_equal(found[0][certain], expected[0][certain])
    # Only numbers that sessions flush to 0 make a difference.
    if min(pair, loss or 1.0) > 1e-200:
        normal = np.abs(logits).max(axis=1) > 1e-300
        for value, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(value[normal], other[normal])
