import numpy as np
import pytest
import tensorflow as tf

from export.radius_tests import RadiusTests
from lsrs_tf.certification.certifier import Certifier
from tests.export.conftest import SETTINGS


@pytest.mark.parametrize("radius", [0.1, 0.25, 0.5, 0.75])
def test_is_the_engines_sequential_test(model, images, signatures, radius):
    found, expected = [], []
    for seed in (0, 3):
        # The radius that the ladder has for the request.
        level = signatures.radii[np.searchsorted(signatures.radii, np.float32(radius))]
        engine = Certifier(
            model, method="sequential", target_radii=level, **SETTINGS, seed=seed, jit_compile=False
        )
        for certificate in engine.certify_each(images):
            expected.append((certificate.label, certificate.samples))
        answer = signatures.certify_at_with(
            tf.constant(images), tf.fill([5], np.int64(seed)), tf.fill([5], np.float32(radius))
        )
        np.testing.assert_array_equal(answer["robust"], answer["label"].numpy() >= 0)
        found += zip(answer["label"].numpy(), answer["samples"].numpy(), strict=True)
    assert found == expected


def test_both_answers_occur_and_small_radii_need_few_samples(images, signatures):
    answers = [
        signatures.certify_at(tf.constant(images), tf.fill([5], radius)) for radius in (0.02, 0.7)
    ]
    assert answers[0]["robust"].numpy().all() and not answers[1]["robust"].numpy().any()
    for answer in answers:
        np.testing.assert_array_equal(answer["robust"], answer["label"].numpy() >= 0)
        assert np.all(answer["samples"].numpy() <= 520)


@pytest.mark.parametrize("radius", [-0.1, np.nan, np.inf, 100.0])
def test_impossible_radii_are_refused_and_harm_no_neighbour(images, signatures, radius):
    answer = signatures.certify_at(tf.constant(images[:2]), tf.constant([0.1, radius], tf.float32))
    assert [answer[name][1] for name in ("robust", "label", "samples")] == [False, -1, 0]
    assert answer["samples"][0] > 0


def test_bad_pixels_are_refused(images, signatures):
    spoiled = images[:2].copy()
    spoiled[0, 0, 0, 0] = np.nan
    answer = signatures.certify_at(tf.constant(spoiled), tf.constant([0.1, 0.1]))
    assert [answer[name][0] for name in ("robust", "label", "samples")] == [False, -1, 0]
    assert answer["samples"][1] > 0


def test_ladder_never_rounds_down(certifier):
    ladder = RadiusTests(certifier, [0.1, 0.3]).radii
    assert np.all(np.diff(ladder) > 0)
    for radius in (0.0, 0.1, 0.25, 0.3, 0.31, float(ladder[-1])):
        request = np.float32(radius)
        if request <= ladder[-1]:
            assert ladder[np.searchsorted(ladder, np.float64(request))] >= request
    for radius in (0.1, 0.25, 0.3):
        places = ladder[np.searchsorted(ladder, radius)]
        assert radius <= places <= np.nextafter(np.float32(radius), np.float32(9))


def test_radii_beyond_the_samples_are_refused(certifier):
    for radius in (0.0, -1.0, 9.0, float("nan")):
        with pytest.raises(ValueError, match="at most"):
            RadiusTests(certifier, [radius])
