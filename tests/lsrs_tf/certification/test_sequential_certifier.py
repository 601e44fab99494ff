import dataclasses

import numpy as np
import pytest
import scipy.stats

from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.sampling import random_streams
from lsrs_tf.statistics.sequential import outcome_probabilities, sequential_test
from tests.simulated import pixel, threshold_model


def _images(count, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, 8, 8, 1)).astype(np.float32)


def _certificates(certifier, images):
    return {key: found for key, found, _ in certifier.certificates_of(enumerate(images))}


def test_counts_do_not_depend_on_what_is_packed_with_them():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    images = _images(7)
    found = []
    for batch_size, order in ((64, range(7)), (64, reversed(range(7))), (50, range(7))):
        certifier = Certifier(
            model,
            method="sequential",
            target_radii=[0.05, 0.2],
            n0=30,
            n=2_000,
            alpha=0.01,
            batch_size=batch_size,
        )
        found.append({key: value for key, value, _ in certifier.certificates_of(
            (index, images[index]) for index in order)})  # fmt: skip
    alone = {index: certifier.certify(images[index]) for index in range(7)}
    for other in (*found[1:], alone):
        for index in range(7):
            left, right = found[0][index], other[index]
            np.testing.assert_array_equal(left.counts, right.counts)
            np.testing.assert_array_equal(left.selection_counts, right.selection_counts)
            assert (left.label, left.radius, left.samples) == (
                right.label, right.radius, right.samples)  # fmt: skip


def test_counts_are_those_of_the_fixed_sampler():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    certifier = Certifier(
        model, method="sequential", target_radii=0.05, n0=30, n=500, alpha=0.01, batch_size=64
    )
    for image in _images(3):
        found = certifier.certify(image)
        estimation = found.samples - 30
        selection_counts, counts = certifier.classifier.count(
            image,
            certifier.classifier.encode(image),
            [(random_streams.SELECTION, 30), (random_streams.ESTIMATION, estimation)],
            certifier.settings.seed,
        )
        np.testing.assert_array_equal(found.selection_counts, selection_counts)
        np.testing.assert_array_equal(found.counts, counts)


@pytest.mark.parametrize("target_radii", [(0.125,), (0.0625, 0.125, 0.25)])
def test_false_certificates_stay_within_alpha(target_radii):
    alpha, runs = 0.2, 250
    # The true radius of the image is exactly 0.125: claiming that much is wrong alpha of the time.
    model = threshold_model(0.25, 0.25)
    certifier = Certifier(
        model,
        method="sequential",
        target_radii=target_radii,
        n0=10,
        n=200,
        alpha=alpha,
        batch_size=200,
    )
    wrong = 0
    for seed in range(runs):
        certifier.settings = dataclasses.replace(certifier.settings, seed=seed)
        certificate = certifier.certify(pixel(0.375))
        wrong += certificate.label != -1 and certificate.radius >= 0.125
    assert scipy.stats.binomtest(wrong, runs, alpha, alternative="greater").pvalue > 1e-4
    assert wrong > 0.2 * alpha * runs


def test_power_is_that_of_the_exact_law():
    alpha, runs = 0.05, 200
    model = threshold_model(0.25, 0.25)
    certifier = Certifier(
        model, method="sequential", target_radii=0.125, n0=60, n=400, alpha=alpha, batch_size=400
    )
    p = scipy.stats.norm.cdf(0.1875 / 0.25)
    p0 = certifier.classifier.radius_scale.probability_needed(0.125)
    test = sequential_test(p0, 400, alpha)
    expected = outcome_probabilities(test, p)[0].sum()
    certified = 0
    for seed in range(runs):
        certifier.settings = dataclasses.replace(certifier.settings, seed=seed)
        certified += certifier.certify(pixel(0.4375)).radius == 0.125
    assert scipy.stats.binomtest(certified, runs, expected).pvalue > 1e-5


def test_largest_settled_radius_is_certified():
    model = threshold_model(0.25, 0.25)
    certifier = Certifier(model, method="sequential", target_radii=[0.5, 0.125, 0.25], n=20_000)
    assert certifier.settings.target_radii == (0.125, 0.25, 0.5)
    for value, radius in ((0.25 + 0.4, 0.25), (0.25 + 0.7, 0.5), (0.25 + 0.2, 0.125)):
        certificate = certifier.certify(pixel(value))
        assert (certificate.label, certificate.radius) == (1, radius)
        assert certificate.counts.sum() + 100 == certificate.samples < 20_100
    hopeless = certifier.certify(pixel(0.26))
    assert (hopeless.label, hopeless.radius, hopeless.p_lower) == (-1, 0.0, 0.0)
    assert hopeless.samples < 1_000


def test_head_without_votes_abstains_at_once():
    model = threshold_model(0.25, 0.25)
    model.head.layers[-1].set_weights([np.zeros((1, 2)), np.full(2, np.nan)])
    certificate = Certifier(model, method="sequential", target_radii=0.125).certify(pixel(0.5))
    assert (certificate.label, certificate.radius) == (-1, 0.0)
    assert certificate.samples <= 200


def test_images_are_taken_as_there_is_room_for_them():
    model = threshold_model(0.25, 0.25)
    certifier = Certifier(
        model, method="sequential", target_radii=0.125, n0=50, n=1_000, batch_size=100
    )
    taken = []

    def images():
        for index in range(20):
            taken.append(index)
            yield index, pixel(0.9)

    each = certifier.certificates_of(images())
    next(each)
    assert len(taken) < 10
    assert len(list(each)) == 19


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_radii": 0.0}, "target_radii"),
        ({"target_radii": []}, "at least one"),
        ({"target_radii": [0.1, 0.1]}, "once"),
        ({"target_radii": [0.1, float("nan")]}, "above 0"),
        ({"target_radii": 0.96}, "Use n="),
        ({"target_radii": 5.0}, "smaller radius"),
        ({"target_radii": 0.1, "n": 5}, "n=5"),
        ({"target_radii": 0.1, "alpha": 2.0}, "alpha"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Certifier(threshold_model(0.25, 0.25), method="sequential", **arguments)


def test_image_is_checked():
    with pytest.raises(ValueError, match="Image 0"):
        Certifier(threshold_model(0.25, 0.25), method="sequential", target_radii=0.1).certify(
            pixel(2.0)
        )
