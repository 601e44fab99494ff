import math

import numpy as np
import pytest

from lsrs_tf.evaluation.sandwich import accuracy_under_attack, contradictions, tightness


def test_one_contradiction_of_a_proof_is_an_alarm():
    result = contradictions([3, 5], [0.5, 0.5], [0.5, 0.49], probability=0.0)
    assert result.alarm
    assert result.images.tolist() == [5]
    assert "ALARM: 1 of 2" in str(result)
    assert "images 5" in str(result)
    # A distance equal to the radius is no contradiction, however it was rounded.
    assert not contradictions([3], [0.5], [0.5 * (1 - 1e-12)], probability=0.0).alarm
    assert (
        str(contradictions([3], [0.5], [math.inf], 0.0)) == "0 of 1 attacks inside a certificate."
    )


def test_alpha_allows_what_the_binomial_law_does():
    radii, inside = np.ones(1000), np.full(1000, 2.0)

    def with_so_many(count, **options):
        inside[:] = 2.0
        inside[:count] = 0.5
        return contradictions(np.arange(1000), radii, inside, probability=0.002, **options)

    # Two are expected: P(X >= 6) is .0166, and P(X >= 7) is .0045.
    assert not with_so_many(6).alarm
    assert with_so_many(6).p_value == pytest.approx(0.0166, abs=5e-4)
    assert with_so_many(7).alarm
    # Where all may fail together, the mean is all that is known.
    assert not with_so_many(100, independent=False).alarm
    assert with_so_many(200, independent=False).alarm


def test_tightness_is_the_ratio_of_the_areas():
    radii, correct = [0.2, 0.3, 0.4], [True, True, False]
    distances = [0.4, 0.6, 0.0]
    assert tightness(radii, correct, distances) == pytest.approx(0.5)
    assert tightness(radii, correct, [0.4, math.inf, 0.0]) == pytest.approx(0.5 / 0.8)
    assert np.isnan(tightness([0.0], [False], [0.0]))
    assert accuracy_under_attack(distances, 0.4) == pytest.approx(1 / 3)
    assert accuracy_under_attack(distances, 0.0) == pytest.approx(2 / 3)
