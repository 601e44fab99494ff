import fractions
import math

import numpy as np
import pytest

from lsrs_tf.statistics.margin_scale import MarginScale, largest


def _scale(pairs, loss=0.0, largest_radius=1e9):
    return MarginScale(np.asarray(pairs, np.float64), loss, largest_radius)


def _random_pairs(rng, classes):
    pairs = rng.uniform(0.1, 3.0, size=(classes, classes))
    return np.maximum(pairs, pairs.T)


@pytest.mark.parametrize("exponent", [-280, -30, 0, 30, 140])
def test_radius_is_at_most_the_exact_one_and_hardly_below(exponent):
    rng = np.random.default_rng(abs(exponent))
    for _ in range(100):
        logits = rng.normal(size=4) * 10.0**exponent
        # A common part that nearly cancels in every margin.
        logits += rng.choice([0.0, 1.0, 1e3]) * 10.0**exponent
        pairs = _random_pairs(rng, 4)
        loss = float(np.ptp(logits)) * 1e-3
        scale = _scale(pairs, loss, 1e300)
        proof = scale.proven(logits)
        label = int(np.argmax(logits))
        exact = min(
            (
                fractions.Fraction(logits[label])
                - fractions.Fraction(logits[j])
                - fractions.Fraction(loss)
            )
            / fractions.Fraction(pairs[label, j])
            for j in range(4)
            if j != label
        )
        if exact <= 0:
            assert proof.label == -1 and proof.radius == 0
            continue
        assert fractions.Fraction(proof.radius) <= exact
        assert proof.radius >= float(exact) * (1 - 1e-9) - 1e-12 * 10.0**exponent
        assert proof.label == label


def test_the_rival_need_not_be_the_runner_up():
    pairs = np.ones((3, 3))
    pairs[0, 1] = pairs[1, 0] = 10.0
    proof = _scale(pairs).proven(np.array([3.0, 1.0, 2.0]))
    assert (proof.label, proof.rival, proof.margin) == (0, 1, 2.0)
    assert proof.radius == pytest.approx(0.2, abs=1e-12)


@pytest.mark.parametrize(
    "logits",
    [
        [1.0, 1.0, 0.0],
        [0.0, 0.0, 0.0],
        [np.nan, 1.0, 0.0],
        [np.inf, 1.0, 0.0],
        [1.0, -np.inf, 0.0],
        [1.0, 1.0 - 1e-6, 0.0],
    ],
)
def test_doubtful_logits_prove_nothing(logits):
    proof = _scale(np.ones((3, 3)), loss=1e-5).proven(np.array(logits))
    assert (proof.label, proof.rival, proof.radius, proof.margin) == (-1, -1, 0.0, 0.0)


def test_no_radius_is_larger_than_images_are_apart():
    scale = _scale(np.full((2, 2), 1e-300), largest_radius=math.sqrt(12))
    assert 3.46 < scale.proven(np.array([1e10, 0.0])).radius < math.sqrt(12)


def test_largest_is_alone_and_finite():
    assert largest(np.array([0.0, 2.0, 1.0])) == 1
    assert largest(np.array([2.0, 2.0, 1.0])) == -1
    assert largest(np.array([2.0, np.nan, 1.0])) == -1


@pytest.mark.parametrize(
    ("pairs", "loss", "message"),
    [
        (np.ones((1, 1)), 0.0, "at least two classes"),
        (np.ones((2, 3)), 0.0, "at least two classes"),
        (np.array([[1.0, np.inf], [np.inf, 1.0]]), 0.0, "finite and above 0"),
        (np.array([[1.0, 0.0], [0.0, 1.0]]), 0.0, "finite and above 0"),
        (np.ones((2, 2)), -1.0, "at least 0"),
        (np.ones((2, 2)), np.nan, "at least 0"),
    ],
)
def test_impossible_scales_are_refused(pairs, loss, message):
    with pytest.raises(ValueError, match=message):
        _scale(pairs, loss)


def test_other_numbers_of_logits_are_refused():
    with pytest.raises(ValueError, match="3 logits are needed"):
        _scale(np.ones((3, 3))).proven(np.ones(4))


def test_radii_that_could_only_be_rounded_up_are_none():
    # The quotient is a number with few digits: half a unit of its last place is a large part of it.
    scale = _scale(np.full((2, 2), 3.8e233), largest_radius=10.0)
    assert scale.proven(np.array([1.6e-81, 0.0])).radius == 0
