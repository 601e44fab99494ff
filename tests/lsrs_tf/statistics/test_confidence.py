import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import scipy.special
import scipy.stats

from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.radius_scale import RadiusScale
from tests.oracles import binomial_tail, log_binomial_tail


def _exact_tail(count, n, p):
    """P(at least `count` hits in n trials), in exact arithmetic."""
    p = Fraction(p)
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(count, n + 1))


@pytest.mark.parametrize("alpha", [0.05, 0.001, 1e-6])
@pytest.mark.parametrize("n", [1, 2, 10, 100])
def test_lower_bound_is_the_exact_clopper_pearson_bound(n, alpha):
    for count in range(n + 1):
        bound = confidence.lower_confidence_bound(count, n, alpha)
        assert _exact_tail(count, n, bound) <= Fraction(alpha) or count == 0
        if count:
            assert _exact_tail(count, n, bound * (1 + 1e-10)) > Fraction(alpha)


@pytest.mark.parametrize("alpha", [0.5, 0.001, 1e-7, 1e-15, 1e-100])
@pytest.mark.parametrize("n", [300, 1_000, 100_000])
def test_lower_bound_is_below_the_exact_one_for_many_samples(n, alpha):
    for share in (0.5, 0.6, 0.9, 0.99, 0.9999, 1.0):
        count = round(share * n)
        bound = confidence.lower_confidence_bound(count, n, alpha)
        exact = mpmath.mpf(alpha)
        assert binomial_tail(count, n, bound) <= exact
        assert binomial_tail(count, n, bound) >= exact * (1 - mpmath.mpf(10) ** -4)


@pytest.mark.parametrize("n", [10, 60])
@pytest.mark.parametrize("alpha", [0.1, 0.001])
def test_lower_bound_is_wrong_at_most_as_often_as_alpha_allows(n, alpha):
    bounds = np.array([confidence.lower_confidence_bound(k, n, alpha) for k in range(n + 1)])
    worst = 0.0
    for p in np.linspace(0.001, 0.999, 999):
        worst = max(worst, scipy.stats.binom.pmf(np.arange(n + 1), n, p)[bounds > p].sum())
    assert alpha / 3 < worst <= alpha * (1 + 1e-9)


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.001, 1e-9])
def test_smallest_certifying_n_is_the_first_with_two_to_the_minus_n_below_alpha(alpha):
    n = confidence.smallest_certifying_n(alpha)
    assert Fraction(1, 2) ** n <= Fraction(alpha)
    assert confidence.lower_confidence_bound(n, n, alpha) > 0.5
    if n > 1:
        assert confidence.lower_confidence_bound(n - 1, n - 1, alpha) <= 0.5


@pytest.mark.parametrize("sigma", [0.25, 1.0])
@pytest.mark.parametrize("lipschitz", [1.0, 1 + 1e-12, 4.1])
def test_radius_is_below_the_exact_one_and_close(sigma, lipschitz):
    mpmath.mp.dps = 40
    for p in (0.5 + 1e-9, 0.501, 0.7, 0.99, 1 - 1e-9, 1 - 1e-15):
        radius = RadiusScale(sigma, lipschitz).radius(p)
        quantile = mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p) - 1)
        exact = mpmath.mpf(sigma) * quantile / mpmath.mpf(lipschitz)
        assert mpmath.mpf(radius) <= exact
        assert mpmath.mpf(radius) >= exact * (1 - mpmath.mpf(10) ** -12)


@pytest.mark.parametrize("p", [0.0, 0.5, math.nan, -1.0])
def test_doubt_gives_no_radius(p):
    assert RadiusScale(0.25, 1.0).radius(p) == 0.0


def test_unanimous_votes_cap_the_radius():
    for n, cap in [(1_000, 2.46), (10_000, 3.20), (100_000, 3.81)]:
        p_lower = confidence.lower_confidence_bound(n, n, 0.001)
        assert RadiusScale(1.0, 1.0).radius(p_lower) == pytest.approx(cap, abs=0.005)


def test_float32_is_the_largest_below():
    for value in [0.0, 0.1, 0.5, *np.random.default_rng(0).uniform(0, 3, 1000)]:
        below = confidence.float32_below(value)
        assert below.dtype == np.float32
        assert float(below) <= value < float(np.nextafter(below, np.float32(9)))


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_majority_against_the_exact_two_sided_test(alpha):
    for total in (1, 10, 31):
        for first in range(total + 1):
            second = total - first
            tail = 2 * _exact_tail(first, total, Fraction(1, 2))
            # The one that leads is the first.
            expected = first > second and tail <= Fraction(alpha)
            assert confidence.majority_is_significant(first, second, alpha) == expected
    assert not confidence.majority_is_significant(0, 0, alpha)


def test_missing_votes_count_for_the_runner_up():
    def label(*counts, n=1_000):
        return confidence.predicted_label(np.array(counts), n, 0.001)

    # As they were counted with 60 % of ties.
    assert label(389, 0, 0) == label(0, 389, 0) == label(0, 0, 0) == label(500, 500, 0) == -1
    assert label(0, 389, 0, n=389) == label(0, 600, 0) == label(10, 600, 2) == 1
    least = 553
    assert confidence.majority_is_significant(least, 1_000 - least, 0.001)
    for silent in range(0, 440, 20):
        assert label(least, 1_000 - silent - least) == 0
        assert label(least - 1, 1_001 - silent - least) == -1
    with pytest.raises(ValueError, match="Votes must be"):
        label(600, 401)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_impossible_alpha_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        confidence.lower_confidence_bound(1, 2, alpha)


@pytest.mark.parametrize("alpha", [9e-101, 1e-110, 1e-200, 1e-323])
def test_alpha_below_which_bounds_would_fail_is_refused(alpha):
    for function in (
        lambda: confidence.check_alpha(alpha),
        lambda: confidence.majority_is_significant(900, 100, alpha),
        lambda: confidence.lower_confidence_bound(900, 1_000, alpha / 2),
        lambda: confidence.runner_up_bounds(np.array([900, 100]), 0, 1_000, alpha),
    ):
        with pytest.raises(ValueError, match="must be at least [15]e-10"):
            function()
    assert confidence.check_alpha(1e-100) == 1e-100


def test_no_count_fails_at_the_smallest_alpha():
    # Below it SciPy gives NaN, such as for 3 of 5 at 1e-110, or numbers that are wrong.
    alpha = confidence.SMALLEST_ALPHA / 2
    for n in (*range(1, 200), 1_000):
        bounds = np.array(
            [confidence.lower_confidence_bound(count, n, alpha) for count in range(n + 1)]
        )
        assert np.all(np.diff(bounds) > 0)
        counts = np.arange(1, n + 1)
        tails = scipy.special.betainc(counts, n - counts + 1, bounds[1:])
        assert np.all(tails <= alpha * (1 + 1e-9))
        assert np.all(tails >= alpha * (1 - 1e-4))
    for n in (333, 334):
        assert (confidence.lower_confidence_bound(n, n, alpha) > 0.5) == (n == 334)
    confidence.runner_up_bounds(np.array([900, 0, 100]), 0, 1_000, confidence.SMALLEST_ALPHA)


@pytest.mark.parametrize(
    ("count", "n", "alpha"),
    [
        # Where SciPy's inverse was off by 2.7e-11, 2.6e-11, 7.8e-11 and 1.9e-10.
        (1_000, 677_442, 1.1893409377263416e-50),
        (1_832_710, 9_226_906, 9.876008824666689e-89),
        (15_224_335, 81_353_125, 9.525397002679879e-93),
        (130_815_084, 715_944_031, 2.5447805161040435e-64),
        (990_000, 10**6, 1e-3),
        (500_000_000, 10**9, 1e-3),
        (999_999_000, 10**9, 1e-100),
    ],
)
def test_lower_bound_of_very_many_samples(count, n, alpha):
    bound = confidence.lower_confidence_bound(count, n, alpha)
    assert log_binomial_tail(count, n, bound) <= mpmath.log(alpha)
    assert log_binomial_tail(count, n, bound * (1 + 3e-9)) > mpmath.log(alpha)


@pytest.mark.parametrize("n", [10**6, 10**8, 10**9])
@pytest.mark.parametrize("count", [1, 3, 5, 7, 15, 99])
@pytest.mark.parametrize("alpha", [0.6, 0.69, 0.97])
def test_lower_bound_of_a_handful_of_hits(count, n, alpha):
    # SciPy's inverse was off by up to 2.5e-8.
    bound = confidence.lower_confidence_bound(count, n, alpha)
    with mpmath.workdps(50):
        p = mpmath.mpf(bound)
        fewer = mpmath.fsum(
            mpmath.binomial(n, hits) * p**hits * mpmath.exp((n - hits) * mpmath.log1p(-p))
            for hits in range(count)
        )
        assert 1 - fewer <= alpha
    exact = float(scipy.stats.beta.ppf(alpha, count, n - count + 1))
    assert bound == pytest.approx(exact, rel=3e-7)


@pytest.mark.parametrize(("count", "n"), [(-1, 5), (6, 5), (0, 0), (5, 10**9 + 1)])
def test_impossible_counts_are_refused(count, n):
    with pytest.raises(ValueError, match="count"):
        confidence.lower_confidence_bound(count, n, 0.001)


@pytest.mark.parametrize(
    ("sigma", "lipschitz"), [(0.0, 1.0), (0.25, 0.0), (0.25, math.inf), (math.nan, 1.0)]
)
def test_radius_needs_sigma_and_lipschitz(sigma, lipschitz):
    with pytest.raises(ValueError, match="finite"):
        RadiusScale(sigma, lipschitz).radius(0.9)


@pytest.mark.parametrize("alpha", [0.1, 0.01])
def test_runner_up_bounds_are_wrong_at_most_as_often_as_alpha_allows(alpha):
    n = 30
    votes = np.array([(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)])
    firsts, seconds = np.meshgrid(np.linspace(0.2, 0.95, 31), np.linspace(0.01, 0.5, 15))
    laws = [(p, q, 1 - p - q) for p, q in zip(firsts.flat, seconds.flat, strict=True) if p + q <= 1]

    def worst(alpha):
        bounds = [confidence.runner_up_bounds(row, 0, n, alpha) for row in votes]
        p_lower, p_upper = np.array(bounds).T
        return max(
            scipy.stats.multinomial.pmf(votes, n, law)[
                (p_lower > law[0]) | (p_upper < max(law[1:]))
            ].sum()
            for law in laws
        )

    assert alpha / 2 < worst(alpha) <= alpha
    # The whole of alpha for each of both bounds would be caught.
    assert worst(2 * alpha) > alpha


@pytest.mark.parametrize("p_lower", [0.501, 0.7, 0.99, 1 - 1e-9])
def test_radius_against_is_below_the_exact_one_and_close(p_lower):
    mpmath.mp.dps = 40
    for p_upper in (1e-9, 0.01, 0.3, 0.45):
        radius = RadiusScale(0.25, 4.1, 0.001).radius_against(p_lower, p_upper)
        high, low = (
            mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p) - 1) for p in (p_lower, p_upper)
        )
        exact = (mpmath.mpf(0.125) * (high - low) - mpmath.mpf(0.001)) / mpmath.mpf(4.1)
        assert mpmath.mpf(radius) <= exact
        assert mpmath.mpf(radius) >= exact * (1 - mpmath.mpf(10) ** -12)
    assert RadiusScale(0.25, 1.0).radius_against(p_lower, p_lower) == 0.0
    assert RadiusScale(0.25, 1.0).radius_against(p_lower, math.nan) == 0.0


@pytest.mark.parametrize("counts", [[450, 440, 400], [700, -500, 0], [9]])
def test_impossible_votes_have_no_runner_up(counts):
    with pytest.raises(ValueError, match="Votes must be"):
        confidence.runner_up_bounds(np.array(counts), 0, 1000, 0.001)
