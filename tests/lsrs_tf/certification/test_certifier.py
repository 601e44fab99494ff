import dataclasses

import keras
import numpy as np
import pytest
import scipy.stats

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.radius_scale import RadiusScale
from tests.simulated import pixel, probability, threshold_model


def test_counts_follow_the_known_probability():
    certifier = Certifier(threshold_model(0.25, 0.5), n0=100, n=50_000)
    for value in (0.3, 0.5, 0.9):
        certificate = certifier.certify(pixel(value))
        p = probability(value, 0.25, 0.5)
        assert certificate.counts.sum() == 50_000
        assert certificate.selection_counts.sum() == 100
        assert scipy.stats.binomtest(int(certificate.counts[1]), 50_000, p).pvalue > 1e-4


def test_certificate_is_the_formula_on_its_counts():
    certifier = Certifier(threshold_model(0.25, 0.5), n0=50, n=2_000, alpha=0.01)
    certificate = certifier.certify(pixel(0.9))
    assert certificate.label == 1
    assert certificate.p_lower == confidence.lower_confidence_bound(
        int(certificate.counts[1]), 2_000, 0.01
    )
    assert certificate.radius == RadiusScale(0.5, 1.0).radius(certificate.p_lower)
    assert 0 < certificate.radius < 0.65


@pytest.mark.parametrize(
    ("value", "threshold"),
    [
        # Far from the boundary, near to it on the right side, and exactly on it.
        (0.5, 0.25),
        (0.3, 0.25),
        (0.25, 0.25),
    ],
)
def test_certificates_are_wrong_at_most_as_often_as_alpha_allows(value, threshold):
    alpha, sigma, runs = 0.05, 0.25, 2_000
    certifier = Certifier(threshold_model(threshold, sigma), n0=10, n=100, alpha=alpha)
    wrong = 0
    for seed in range(runs):
        certifier.settings = dataclasses.replace(certifier.settings, seed=seed)
        certificate = certifier.certify(pixel(value))
        distance = value - threshold
        # The label is 1 on one side of the boundary and 0 on the other.
        margin = distance if certificate.label == 1 else -distance
        wrong += certificate.label != -1 and certificate.radius > margin
    test = scipy.stats.binomtest(wrong, runs, alpha, alternative="greater")
    assert test.pvalue > 1e-4, f"{wrong} of {runs} certificates are wrong"
    # The certificate is tight, so that a bound that is merely cautious would be seen as well.
    assert wrong > 0.2 * alpha * runs


def test_coverage_test_catches_selection_samples_that_are_used_again():
    alpha, runs = 0.05, 2_000
    certifier = Certifier(threshold_model(0.25, 0.25), n0=100, n=100, alpha=alpha)
    wrong = 0
    for seed in range(runs):
        certifier.settings = dataclasses.replace(certifier.settings, seed=seed)
        counts = certifier.certify(pixel(0.25)).selection_counts
        bound = confidence.lower_confidence_bound(int(counts.max()), 100, alpha)
        wrong += bound > 0.5
    assert scipy.stats.binomtest(wrong, runs, alpha, alternative="greater").pvalue < 1e-4


@pytest.mark.parametrize("image", [pixel(2.0), pixel(np.nan), np.zeros((1, 1, 1), np.uint8)])
def test_image_is_checked(image):
    with pytest.raises(ValueError, match="Image 0"):
        Certifier(threshold_model(0.25, 0.25), n0=10, n=100).certify(image)


def test_head_without_votes_abstains():
    model = threshold_model(0.25, 0.25)
    model.head.layers[-1].set_weights([np.zeros((1, 2)), np.full(2, np.nan)])
    certificate = Certifier(model, n0=10, n=100).certify(pixel(0.5))
    assert (certificate.label, certificate.radius, certificate.p_lower) == (-1, 0.0, 0.0)
    assert certificate.counts.sum() == 0


def test_radius_is_divided_by_the_lipschitz_bound():
    images = keras.Input((1, 1, 1))
    encoder = keras.Model(images, models.blocks.layers.Standardization(0.25, 0.2)(images))
    plain = threshold_model(0.0, 0.25)
    model = models.LatentSmoothingModel(encoder, plain.head, 0.25)
    certificate = Certifier(model, n0=10, n=10_000).certify(pixel(0.35))
    # The latent is 0.5, its distance to the boundary 0.5; in pixels a fifth of that.
    assert 0.09 < certificate.radius < 0.1


def test_standard_deviation_is_that_of_the_noise_in_float32():
    # 0.3 rounds up in float32, 0.7 rounds down.
    for sigma in (0.3, 0.7):
        classifier = Certifier(threshold_model(0.25, sigma), n0=1, n=100).classifier
        assert classifier.radius_scale.sigma == float(np.float32(sigma))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": -1.0}, "sigma"),
        ({"sigma": float("nan")}, "sigma"),
        ({"sigma": 1e-60}, "sigma"),
        ({"n0": 0}, "n0"),
        ({"n": 9}, "n=9.*Use n=10"),
        ({"n": 0}, "n=0"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Certifier(threshold_model(0.25, 0.25), **arguments)


def test_head_of_a_wrong_shape_is_refused():
    model = threshold_model(0.25, 0.25)
    head = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Identity()])
    with pytest.raises(ValueError, match="head"):
        Certifier(models.LatentSmoothingModel(model.encoder, head, 0.25))


def test_encoder_without_a_bound_is_refused():
    model = threshold_model(0.25, 0.25)
    encoder = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.LayerNormalization()])
    with pytest.raises(ValueError, match="LayerNormalization"):
        Certifier(models.LatentSmoothingModel(encoder, model.head, 0.25))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 255.0])
@pytest.mark.parametrize("settings", [{}, {"images_per_draw": 2}])
def test_every_way_in_checks_the_images(bad, settings):
    certifier = Certifier(threshold_model(0.25, 0.25), n0=10, n=100, **settings)
    images = np.stack([pixel(0.5), pixel(bad)])
    with pytest.raises(ValueError, match="Image 1"):
        list(certifier.certify_each(images))
    with pytest.raises(ValueError, match="Image 7"):
        list(certifier.certificates_of([(7, pixel(bad))]))
    with pytest.raises(ValueError, match="Image 0"):
        certifier.certify(pixel(bad))


def test_each_is_in_the_order_of_the_images():
    model = threshold_model(0.25, 0.25)
    settings = {"method": "sequential", "target_radii": [0.1], "n0": 10, "n": 2_000}
    certifier = Certifier(model, **settings, batch_size=64)
    # The first image takes the most samples.
    images = np.stack([pixel(value) for value in (0.36, 0.9, 0.9, 0.5, 0.1)])
    each = list(certifier.certify_each(images))
    together = lsrs_tf.certify(model, images, **settings, batch_size=64, verbose=0)
    assert [entry.samples for entry in each] == together.samples.tolist()
    assert each[0].samples > each[1].samples
    assert "5 images" in repr(together) and "abstentions" in repr(together)


def test_images_at_hand_are_all_checked_before_the_first_sample(monkeypatch):
    monkeypatch.setattr(Certifier, "certify_each", lambda *_: pytest.fail("it sampled"))
    images = np.stack([pixel(0.5), pixel(np.nan)])
    for given in (images, list(images)):
        with pytest.raises(ValueError, match="Image 1"):
            lsrs_tf.certify(threshold_model(0.25, 0.25), given, n=100, verbose=0)
