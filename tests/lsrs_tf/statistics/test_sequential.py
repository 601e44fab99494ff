import fractions
import math

import numpy as np
import pytest
import scipy.stats

from lsrs_tf.statistics import confidence, sequential
from lsrs_tf.statistics.radius_scale import RadiusScale
from lsrs_tf.statistics.sequential import outcome_probabilities, sequential_test


def _exact_outcomes(test, p):
    """The law of the outcome by following every number of hits in exact fractions."""
    p = fractions.Fraction(p)
    law, samples = {0: fractions.Fraction(1)}, 0
    certified = given_up = fractions.Fraction(0)
    for look, certify_from, give_up_to in zip(
        test.looks.tolist(), test.certify_from.tolist(), test.give_up_to.tolist(), strict=True
    ):
        for _ in range(look - samples):
            after = {}
            for hits, mass in law.items():
                after[hits + 1] = after.get(hits + 1, 0) + mass * p
                after[hits] = after.get(hits, 0) + mass * (1 - p)
            law = after
        samples = look
        certified += sum(mass for hits, mass in law.items() if hits >= certify_from)
        given_up += sum(mass for hits, mass in law.items() if hits <= give_up_to < certify_from)
        law = {hits: mass for hits, mass in law.items() if give_up_to < hits < certify_from}
    return certified, given_up + sum(law.values())


@pytest.mark.parametrize(
    ("p0", "n", "alpha"), [(0.5, 60, 0.01), (0.75, 100, 0.05), (0.9, 80, 0.02)]
)
def test_false_certificates_stay_within_alpha_by_exact_arithmetic(p0, n, alpha):
    test = sequential_test(p0, n, alpha)
    certified, given_up = _exact_outcomes(test, p0)
    assert certified + given_up == 1
    assert certified <= fractions.Fraction(alpha)
    # Discrete hits leave some of alpha over, not most of it.
    assert certified >= fractions.Fraction(alpha) / 4
    found = outcome_probabilities(test, p0)
    assert found[0].sum() == pytest.approx(float(certified), rel=1e-9)
    assert found[1].sum() == pytest.approx(float(given_up), rel=1e-9)
    for p in (p0 - 0.05, p0 - 0.2):
        assert _exact_outcomes(test, p)[0] < certified


@pytest.mark.parametrize("p0", [0.5, 0.8413447, 0.9772499, 0.9986501])
@pytest.mark.parametrize("alpha", [0.05, 0.001, 1e-9])
def test_alpha_is_kept_and_nearly_used_at_the_customary_size(p0, alpha):
    if confidence.lower_confidence_bound(100_000, 100_000, alpha) <= p0:
        pytest.skip("not even unanimous votes would do")
    test = sequential_test(p0, 100_000, alpha)
    certified, given_up = outcome_probabilities(test, p0)
    assert certified.sum() + given_up.sum() == pytest.approx(1, abs=1e-10)
    assert 0.5 * alpha <= certified.sum() <= alpha
    # Fewer hits certify less often.
    smaller = outcome_probabilities(test, p0 - 1e-3 * (1 - p0))[0].sum()
    assert smaller < certified.sum()


@pytest.mark.parametrize("radius", [1.0, 2.0, 3.0])
def test_power_is_nearly_that_of_the_fixed_number_of_samples(radius):
    n, alpha = 100_000, 0.001
    p0 = scipy.stats.norm.cdf(radius)
    test = sequential_test(p0, n, alpha)
    least = int(scipy.stats.binom.isf(alpha, n, p0)) + 1
    deviation = math.sqrt(p0 * (1 - p0) / n)
    for distance in (2, 3, 4, 6):
        p = p0 + distance * deviation
        if p >= 1:
            continue
        fixed = scipy.stats.binom.sf(least - 1, n, p)
        power = outcome_probabilities(test, p)[0].sum()
        assert power >= fixed - 0.12
        if distance == 6:
            assert power >= 0.99 * fixed


def test_clear_images_take_few_samples():
    n = 100_000
    for radius, expected in ((1.0, 100), (2.0, 600), (3.0, 8_000)):
        test = sequential_test(float(scipy.stats.norm.cdf(radius)), n, 0.001)
        for p in (1 - 1e-4 * (1 - test.p0), 0.1):
            certified, given_up = outcome_probabilities(test, p)
            assert ((certified + given_up) * test.looks).sum() < expected


def test_simulated_votes_agree_with_the_exact_law():
    test = sequential_test(0.75, 2_000, 0.05)
    rng = np.random.default_rng(0)
    for p in (0.75, 0.78):
        certified, _ = outcome_probabilities(test, p)
        hits = np.cumsum(
            rng.binomial(np.diff(test.looks, prepend=0), p, size=(20_000, test.looks.size)), axis=1
        )
        above, below = hits >= test.certify_from, hits <= test.give_up_to
        first = np.argmax(above | below | (np.arange(test.looks.size) == test.looks.size - 1), 1)
        count = int(above[np.arange(20_000), first].sum())
        assert scipy.stats.binomtest(count, 20_000, certified.sum()).pvalue > 1e-4


def test_peeking_with_a_fixed_bound_is_caught_by_the_exact_law():
    alpha, p0 = 0.001, 0.75
    test = sequential_test(p0, 10_000, alpha)
    # A Clopper-Pearson bound at the full alpha, looked at again and again.
    peeking = sequential.SequentialTest(
        p0,
        alpha,
        test.looks,
        scipy.stats.binom.isf(alpha, test.looks, p0).astype(np.int64) + 1,
        np.full(test.looks.size, -1),
    )
    assert outcome_probabilities(peeking, p0)[0].sum() > 3 * alpha


def test_looks_are_ascending_and_end_at_n():
    for n in (1, 10, 20, 25, 1_000, 100_000):
        looks = sequential.sequential_looks(n)
        assert looks[-1] == n and np.all(np.diff(looks) > 0)


@pytest.mark.parametrize("sigma", [0.25, 0.3, 1.0])
@pytest.mark.parametrize("lipschitz", [1.0, 1 + 1e-12, 4.1])
def test_probability_needed_is_enough_for_the_radius(sigma, lipschitz):
    for radius in (0.01, 0.1, 0.25, 0.7):
        p0 = RadiusScale(sigma, lipschitz).probability_needed(radius)
        if p0 < 1 - 1e-9:
            exact = scipy.stats.norm.cdf(radius * lipschitz / sigma)
            assert exact <= p0 <= exact + 1e-11
            assert sigma * scipy.stats.norm.ppf(p0) / lipschitz >= radius * (1 - 1e-12)


def test_radius_out_of_reach_is_refused_with_the_samples_it_needs():
    with pytest.raises(ValueError, match="Use n=5114 or more"):
        sequential_test(0.99865, 1_000, 0.001)
    with pytest.raises(ValueError, match="cannot be shown"):
        sequential_test(1.0, 1_000, 0.001)
    assert sequential_test(0.99865, 5_200, 0.001).certify_from[-1] <= 5_200


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan")])
def test_alpha_is_checked(alpha):
    with pytest.raises(ValueError, match="alpha"):
        sequential_test(0.75, 1_000, alpha)


@pytest.mark.parametrize("alpha", [1e-24, 1e-40, 1e-100])
def test_tiny_alpha_is_kept(alpha):
    test = sequential_test(0.9, 5_000, alpha)
    certified, _ = outcome_probabilities(test, 0.9)
    assert 0.2 * alpha <= certified.sum() <= alpha


def test_kept_tests_cannot_be_changed():
    test = sequential_test(0.75, 1_000, 0.01)
    assert sequential_test(0.75, 1_000, 0.01) is test
    with pytest.raises(ValueError, match="read-only"):
        test.certify_from[0] = 0


@pytest.mark.parametrize("alpha", [1e-3, 1e-17, 1e-30, 1e-100])
def test_what_is_cut_off_binomial_laws_is_far_below_alpha(alpha):
    reach = sequential._reach(sequential._NEGLIGIBLE * alpha)
    assert reach == 1 or alpha < 1e-17
    for samples in (20, 1_000, 50_000, 10**7):
        for p in (0.5, 0.9, 0.999, 1 - 1e-6):
            first, law = sequential._binomial(samples, p, reach)
            last = first + len(law) - 1
            cut = scipy.stats.binom.cdf(first - 1, samples, p)
            cut += scipy.stats.binom.sf(last, samples, p)
            assert cut <= sequential._NEGLIGIBLE * alpha
            assert first == 0 or last == samples or len(law) < samples


@pytest.mark.parametrize("p0", [0.5, 0.9])
def test_the_smallest_alpha_is_kept(p0):
    alpha = confidence.SMALLEST_ALPHA
    certified, given_up = outcome_probabilities(sequential_test(p0, 20_000, alpha), p0)
    assert 0.5 * alpha <= certified.sum() <= alpha
    assert certified.sum() + given_up.sum() == pytest.approx(1, abs=1e-10)
