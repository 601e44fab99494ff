import dataclasses

import numpy as np
import pytest
import scipy.stats

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.certification.functions import recertify
from lsrs_tf.statistics.radius_scale import RadiusScale


@pytest.fixture(scope="module")
def model_and_images():
    images = np.random.default_rng(0).uniform(size=(5, 8, 8, 1)).astype(np.float32)
    return models.convnet(width=4, num_classes=3, sigma=0.5), images


def test_is_what_certify_gives_at_that_alpha(model_and_images):
    settings = {"n0": 20, "n": 400, "verbose": 0}
    result = lsrs_tf.certify(*model_and_images, alpha=0.01, **settings)
    for alpha in (0.001, 0.2):
        again = recertify(result, alpha)
        expected = lsrs_tf.certify(*model_and_images, alpha=alpha, **settings)
        assert (again.settings, again.scale) == (expected.settings, expected.scale)
        for field in dataclasses.fields(expected)[:-2]:
            np.testing.assert_array_equal(
                getattr(again, field.name), getattr(expected, field.name), err_msg=field.name
            )


def test_against_the_runner_up_is_what_certify_gives(model_and_images):
    settings = {"n0": 20, "n": 400, "alpha": 0.01, "verbose": 0}
    expected = lsrs_tf.certify(*model_and_images, against="runner_up", **settings)
    again = recertify(lsrs_tf.certify(*model_and_images, **settings), 0.01, "runner_up")
    assert again.settings.against == "runner_up"
    np.testing.assert_array_equal(again.radii, expected.radii)
    np.testing.assert_array_equal(again.labels, expected.labels)
    assert (expected.radii > 0).any()


def test_runner_up_certifies_less_than_half_of_scattered_votes():
    counts = np.array([450, *[10] * 55])
    both = [
        RadiusScale(0.5, 1.25, 0.01).proven(counts, 0, n=1000, alpha=0.001, against=against)
        for against in ("half", "runner_up")
    ]
    assert both[0][0] == 0.0
    p_a = scipy.stats.beta.ppf(0.0005, 450, 551)
    p_b = scipy.stats.beta.ppf(1 - 0.0005, 11, 990)
    quantiles = scipy.stats.norm.ppf([p_a, p_b])
    expected = (0.25 * (quantiles[0] - quantiles[1]) - 0.01) / 1.25
    assert both[1][0] <= expected
    assert both[1][0] == pytest.approx(expected, rel=1e-8)


def test_samples_without_a_vote_may_be_the_runner_up():
    counts = np.array([450, 10, 10])
    radius, _ = RadiusScale(0.5, 1.0).proven(counts, 0, n=1000, alpha=0.001, against="runner_up")
    assert radius == 0.0


def test_sequential_votes_are_refused(model_and_images):
    result = lsrs_tf.certify(
        *model_and_images, n=1_000, method="sequential", target_radii=0.05, verbose=0
    )
    with pytest.raises(ValueError, match="sequential"):
        recertify(result, 0.01)
    # Also where every image has taken all samples.
    last = lsrs_tf.certify(
        *model_and_images,
        n0=20,
        n=20,
        alpha=0.05,
        method="sequential",
        target_radii=0.05,
        verbose=0,
    )
    with pytest.raises(ValueError, match="sequential"):
        recertify(last, 0.05)


@pytest.mark.parametrize(("alpha", "message"), [(0.0, "alpha"), (1e-40, "Use n=")])
def test_impossible_alpha_is_refused(model_and_images, alpha, message):
    result = lsrs_tf.certify(*model_and_images, n0=5, n=100, verbose=0)
    with pytest.raises(ValueError, match=message):
        recertify(result, alpha)
