from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import lipschitz_bound, lipschitz_report
from lsrs_tf.layers import Sparsemax
from lsrs_tf.models.freezing import freeze_encoder
from tests.oracles import jacobian


def _exact(values, scale):
    """Returns the projection in fractions, by the conditions of Karush, Kuhn and Tucker."""
    for count in range(1, len(values) + 1):
        threshold = (sum(sorted(values)[-count:]) - scale) / Fraction(count)
        projected = [max(value - threshold, Fraction(0)) for value in values]
        # A shift that leaves the right sum is the only one, because the sum falls with the shift.
        if sum(projected) == scale:
            return projected
    raise AssertionError("no threshold")


def _cases(count=300):
    rng = np.random.default_rng(0)
    for _ in range(count):
        size = int(rng.integers(1, 8))
        largest = int(rng.choice([2, 10, 1000]))
        values = [Fraction(int(v), 16) for v in rng.integers(-largest, largest + 1, size=size)]
        yield values, Fraction(int(rng.integers(1, 200)), 16)


def test_is_the_exact_projection():
    for values, scale in _cases():
        layer = Sparsemax(float(scale), dtype="float64")
        found = layer(np.array([values], np.float64)).numpy()[0]
        np.testing.assert_allclose(found, np.array(_exact(values, scale), np.float64), atol=1e-12)


def test_gap_of_the_two_largest_is_exactly_that_of_the_inputs_or_the_scale():
    checked = 0
    for values, scale in _cases(2000):
        if len(values) > 1:
            first, second = sorted(values)[-2:][::-1]
            top = sorted(_exact(values, scale))[-2:]
            # In fractions: no rounding. So no radius of a gap over a constant is enlarged.
            assert top[1] - top[0] == min(first - second, scale)
            assert top[1] - top[0] <= first - second
            checked += 1
    assert checked > 1000


def test_never_moves_two_inputs_apart():
    rng = np.random.default_rng(1)
    left, step = rng.normal(size=(2, 500, 7))
    right = left + step * 10.0 ** -(np.arange(500) % 6).reshape(-1, 1)
    layer = Sparsemax(1.5, dtype="float64")
    moved = np.linalg.norm((layer(left) - layer(right)).numpy(), axis=1)
    assert np.all(moved <= np.linalg.norm(left - right, axis=1) * (1 + 1e-9))
    layer.build((None, 7))
    assert lipschitz_bound(layer) == 1.0


def test_gradient_is_that_of_the_projection():
    layer = Sparsemax(1.0)
    values = tf.constant([[1.0, 0.8, 0.5, -3.0]])
    with tf.GradientTape() as tape:
        tape.watch(values)
        outputs = layer(values)
    gradient = tape.jacobian(outputs, values).numpy()[0, :, 0]
    expected = np.zeros((4, 4))
    expected[:3, :3] = np.eye(3) - 1 / 3
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    small = jacobian(lambda x: 1e4 * layer(values + 1e-4 * x), (4,))
    np.testing.assert_allclose(gradient, small, atol=5e-3)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e6, 1e12, 1e17])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_claim_is_above_the_rounding_error(size, scale):
    rng = np.random.default_rng(2)
    values = rng.choice([0, 1, 0.5, 0.25, 0.75], size=(20, 3, 9)).astype(np.float32)
    layers = [keras.layers.Rescaling(size), Sparsemax(scale)]
    frozen = freeze_encoder(keras.Sequential([keras.Input((3, 9)), *layers]))
    claim = lipschitz_report(frozen).rounding_error
    factor = Fraction(float(keras.ops.convert_to_numpy(keras.ops.cast(size, "float64"))))
    for image, projected in zip(values, frozen(values).numpy(), strict=True):
        square = Fraction(0)
        for row, outputs in zip(image, projected, strict=True):
            exact = _exact([factor * Fraction(float(v)) for v in row], Fraction(scale))
            square += sum(
                (Fraction(float(a)) - b) ** 2 for a, b in zip(outputs, exact, strict=True)
            )
        assert float(square) ** 0.5 <= claim < np.inf


def test_ways_to_run_precision_and_config():
    rows = keras.random.normal((5, 6))
    layer = Sparsemax(2.0)
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled(rows), layer(rows), atol=1e-6)
    assert Sparsemax.from_config(layer.get_config()).scale == 2.0
    for policy in ("mixed_bfloat16", "mixed_float16"):
        assert Sparsemax(dtype=policy)(rows).dtype == Sparsemax(dtype=policy).compute_dtype
    np.testing.assert_array_equal(Sparsemax()(np.array([[3.0]], np.float32)), [[1.0]])
    np.testing.assert_allclose(Sparsemax()(np.ones((1, 4), np.float32)), np.full((1, 4), 0.25))


@pytest.mark.parametrize("scale", [0, -1.0, np.nan, np.inf, "one", None, True, [1.0]])
def test_bad_scale_is_named(scale):
    with pytest.raises(ValueError, match="`scale`.*above 0"):
        Sparsemax(scale)


@pytest.mark.parametrize("shape", [(None, None), (None,)])
def test_unknown_classes_are_refused(shape):
    with pytest.raises(ValueError, match="known last dimension"):
        Sparsemax().build(shape)


def test_values_that_are_not_finite_stay_visible():
    assert not np.all(np.isfinite(Sparsemax()(np.array([[np.nan, 0, 1]], np.float32))))
