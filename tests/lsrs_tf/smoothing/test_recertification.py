import dataclasses

import numpy as np
import pytest

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.smoothing.recertification import recertify


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
        for field in dataclasses.fields(expected):
            np.testing.assert_array_equal(
                getattr(again, field.name), getattr(expected, field.name), err_msg=field.name
            )


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
