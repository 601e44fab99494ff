import numpy as np
import pytest
import scipy.stats

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.certification.decisions import decisions
from lsrs_tf.certification.settings import Settings
from lsrs_tf.sampling import random_streams
from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.radius_scale import RadiusScale
from tests.simulated import pixel, threshold_model

SCALE = RadiusScale(0.25, 1.0)


def _simulated(p, rng, n=5_000, alpha=0.05, tolerance=0.05):
    """A certificate from simulated votes of which class 1 gets the fraction p."""
    settings = Settings(method="sequential", tolerance=tolerance, n0=50, n=n, alpha=alpha)
    estimate = decisions(settings, SCALE, num_classes=2)(1)
    while estimate.certificate() is None:
        samples = estimate.missing
        hits = rng.binomial(samples, p)
        estimate.add(np.array([samples - hits, hits]), samples)
    return estimate.certificate()


@pytest.mark.parametrize("p", [0.5, 0.6, 0.9, 0.99])
def test_false_certificates_stay_within_alpha(p):
    rng, runs, alpha = np.random.default_rng(0), 3_000, 0.05
    wrong = 0
    for _ in range(runs):
        certificate = _simulated(p, rng)
        true = p if certificate.label == 1 else 1 - p
        wrong += certificate.label >= 0 and certificate.p_lower >= true
    assert scipy.stats.binomtest(wrong, runs, alpha, alternative="greater").pvalue > 1e-4


def test_using_the_pilot_again_would_be_caught():
    # Planning on the very samples that estimate: those that look good are stopped.
    rng, runs, alpha, wrong = np.random.default_rng(0), 3_000, 0.05, 0
    for _ in range(runs):
        votes = np.cumsum(rng.uniform(size=2_000) < 0.5)
        looks = np.arange(20, 2_001, 20)
        bounds = [
            confidence.lower_confidence_bound(int(votes[n - 1]), int(n), alpha) for n in looks
        ]
        wrong += max(bounds) >= 0.5
    assert scipy.stats.binomtest(wrong, runs, alpha, alternative="greater").pvalue < 1e-4


@pytest.mark.parametrize("p", [0.55, 0.7, 0.9, 0.99, 0.9999])
def test_radius_is_about_within_the_tolerance(p):
    rng, n, alpha = np.random.default_rng(1), 50_000, 0.001
    found = [_simulated(p, rng, n, alpha) for _ in range(100)]
    full = SCALE.radius(confidence.lower_confidence_bound(round(p * n), n, alpha))
    assert np.mean([certificate.radius for certificate in found]) >= full - 0.05 * 1.3
    assert np.mean([certificate.samples for certificate in found]) < 0.75 * n


def test_counts_are_those_of_the_fixed_sampler_and_disjoint_from_the_pilot():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    certifier = Certifier(
        model, method="sequential", tolerance=0.05, n0=30, n=2_000, alpha=0.01, batch_size=64
    )
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype(np.float32)
    found = {key: value for key, value, _ in certifier.certificates_of(enumerate(images))}
    for index, image in enumerate(images):
        certificate = found[index]
        n = int(certificate.counts.sum())
        selection_counts, counts = certifier.classifier.count(
            image,
            certifier.classifier.encode(image),
            [(random_streams.SELECTION, 30), (random_streams.ESTIMATION, n)],
            certifier.settings.seed,
        )
        np.testing.assert_array_equal(certificate.selection_counts, selection_counts)
        np.testing.assert_array_equal(certificate.counts, counts)
        assert certificate.samples > 30 + n
        again = certifier.certify(image)
        np.testing.assert_array_equal(again.counts, counts)
        assert again.p_lower == confidence.lower_confidence_bound(
            int(counts[selection_counts.argmax()]), n, 0.01
        )


def test_certify_takes_a_tolerance():
    model = threshold_model(0.25, 0.25)
    images = np.stack([pixel(0.26), pixel(0.5), pixel(0.9)])
    result = lsrs_tf.certify(
        model, images, n=20_000, method="sequential", tolerance=0.05, verbose=0
    )
    assert (result.settings.tolerance, result.settings.target_radii) == (0.05, None)
    fixed = lsrs_tf.certify(model, images, n=20_000, verbose=0)
    # One estimate scatters more than the tolerance; the mean is tested above.
    assert np.all(result.radii >= fixed.radii - 0.12)
    assert np.all(result.samples < fixed.samples)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": 0.05}, "goes with `method='sequential'`"),
        ({"tolerance": 0.05, "method": "sequential", "target_radii": 0.1}, "not both"),
        ({"tolerance": 0.0, "method": "sequential"}, "above 0"),
        ({"tolerance": "x", "method": "sequential"}, "above 0"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        lsrs_tf.certify(threshold_model(0.25, 0.25), pixel(0.5)[np.newaxis], **arguments)
