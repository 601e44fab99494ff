import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from export.radius_tests import RadiusTests
from export.signatures import Signatures
from export.warmup import warmup_inputs
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.radius_scale import RadiusScale
from tests.export.conftest import SETTINGS
from tests.simulated import pixel, silent_model


@pytest.fixture(scope="module")
def served(signatures):
    """The signatures as functions, as they are exported."""
    return {
        name: tf.function(function, input_signature=specs)
        for name, (function, specs) in signatures.endpoints().items()
    }


def _with(images, seed, n=500, alpha=0.01):
    rows = len(images)
    return {
        "images": tf.constant(images),
        "seed": tf.constant(np.broadcast_to(seed, rows), tf.int64),
        "n": tf.constant(np.broadcast_to(n, rows), tf.int32),
        "alpha": tf.constant(np.broadcast_to(alpha, rows), tf.float64),
    }


def test_every_input_and_output_has_a_batch_dimension(signatures, served):
    assert set(served) == {
        "serving_default",
        "predict_smoothed",
        "certify",
        "certify_with",
        "certify_at",
        "predict_clean",
        "encode",
        "classify",
    }
    inputs = warmup_inputs(signatures.endpoints())
    for name, function in served.items():
        concrete = function.get_concrete_function()
        assert all(spec.shape[0] is None for spec in function.input_signature)
        assert all(out.shape.rank >= 1 for out in concrete.structured_outputs.values())
        answer = function(**{key: np.repeat(rows, 4, 0) for key, rows in inputs[name].items()})
        assert all(len(value) == 4 for value in answer.values())
        # An empty batch has an empty answer.
        answer = function(**{key: rows[:0] for key, rows in inputs[name].items()})
        assert all(len(value) == 0 for value in answer.values())


def test_certify_with_is_lsrs_tf_certify(model, images, served):
    expected = lsrs_tf.certify(model, images, seed=7, verbose=0, **SETTINGS)
    answer = served["certify_with"](**_with(images, 7))
    np.testing.assert_array_equal(answer["votes"], expected.counts)
    np.testing.assert_array_equal(answer["label"], expected.labels)
    np.testing.assert_array_equal(answer["samples"], expected.samples)
    assert (expected.labels >= 0).any()
    for name, values in (("radius", expected.radii), ("p_lower", expected.p_lower)):
        found = answer[name].numpy().astype(np.float64)
        assert np.all(found <= values)
        np.testing.assert_allclose(found, values, rtol=1e-6, atol=0)


def test_certify_has_the_very_numbers_of_its_votes(images, served):
    answer = served["certify"](tf.constant(images))
    for label, radius, p_lower, votes, samples in zip(*(
        answer[name].numpy() for name in ("label", "radius", "p_lower", "votes", "samples")
    ), strict=True):  # fmt: skip
        assert samples == 520 and votes.sum() == 500
        if label < 0:
            assert radius == 0
            continue
        bound = confidence.lower_confidence_bound(int(votes[label]), 500, 0.01)
        assert p_lower == confidence.float32_below(bound)
        assert radius == confidence.float32_below(RadiusScale(0.5, 1 + 2e-13).radius(bound))
    again = served["certify"](tf.constant(images))
    assert np.any(again["votes"] != answer["votes"])


def test_predicted_labels_are_significant(images, served):
    answer = served["predict_smoothed"](tf.constant(images))
    for label, votes in zip(answer["label"].numpy(), answer["votes"].numpy(), strict=True):
        assert votes.sum() == 200
        assert label == confidence.predicted_label(votes, 200, 0.01)


@pytest.mark.parametrize("kind", ["tie", "nan"])
def test_missing_votes_count_for_the_runner_up(kind):
    # At 0.4 a sample votes with probability 40 %, at 0.9 nearly always.
    model = silent_model(0.4 + 0.1 * 0.25334710313579984, 0.1, kind)
    certifier = Certifier(model, **SETTINGS, jit_compile=False)
    served = Signatures(certifier, RadiusTests(certifier), 1_000, 1_000)
    images = tf.constant(np.stack([pixel(0.4), pixel(0.9)]))
    answer = served.predict_smoothed(images)
    np.testing.assert_array_equal(answer["label"], [-1, 0])
    np.testing.assert_allclose(answer["votes"][0], [400, 0, 0], atol=80)
    np.testing.assert_array_equal(served.predict_clean(images)["label"], [-1, 0])
    np.testing.assert_array_equal(
        lsrs_tf.predict(model, images, alpha=0.01, verbose=0), answer["label"]
    )


def test_merged_requests_are_answered_as_separate_ones(images, served):
    seed, n, alpha = [3, 4, 5, 6, 7], [100, 500, 1, 999, 37], [0.1, 0.01, 0.5, 1e-9, 0.2]
    # A server pads a batch with copies of a row.
    rows = [0, 1, 2, 3, 4, 0, 0, 0]
    merged = served["certify_with"](**_with(images[rows], *np.array([seed, n, alpha])[:, rows]))
    for row, source in enumerate(rows):
        alone = served["certify_with"](
            **_with(images[[source]], seed[source], n[source], alpha[source])
        )
        for name, value in merged.items():
            np.testing.assert_array_equal(value[row], alone[name][0], err_msg=name)


@pytest.mark.parametrize("pixel", [np.nan, np.inf, -1e-6, 1.0 + 1e-6])
def test_bad_pixels_are_refused_and_harm_no_neighbour(images, served, pixel):
    clean = served["certify_with"](**_with(images, 0))
    spoiled = images.copy()
    spoiled[2, 0, 0, 0] = pixel
    answer = served["certify_with"](**_with(spoiled, 0))
    assert [answer[name][2] for name in ("label", "radius", "p_lower", "samples")] == [-1, 0, 0, 0]
    others = [0, 1, 3, 4]
    for name in answer:
        np.testing.assert_array_equal(answer[name].numpy()[others], clean[name].numpy()[others])
    for name in ("predict_smoothed", "certify", "predict_clean"):
        assert served[name](tf.constant(spoiled))["label"][2] == -1
    assert np.isfinite(served["predict_clean"](tf.constant(spoiled))["logits"]).all()


@pytest.mark.parametrize(
    ("n", "alpha"),
    [(0, 0.01), (-5, 0.01), (1_001, 0.01), (500, 0.0), (500, 1.0), (500, -1.0), (500, np.nan),
     (500, 1e-101), (2**31 - 1, 0.01)],
)  # fmt: skip
def test_impossible_settings_are_refused_and_harm_no_neighbour(images, served, n, alpha):
    clean = served["certify_with"](**_with(images[:2], 0))
    answer = served["certify_with"](**_with(images[:2], 0, [500, n], [0.01, alpha]))
    assert [answer[name][1] for name in ("label", "radius", "p_lower", "samples")] == [-1, 0, 0, 0]
    for name in answer:
        np.testing.assert_array_equal(answer[name][0], clean[name][0])


def test_inputs_of_different_lengths_are_an_error(images, served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many rows"):
        served["certify_with"](**{**_with(images, 0), "n": tf.constant([500])})
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many rows"):
        served["certify_at"](images=tf.constant(images), radius=tf.constant([0.1]))


def test_clean_predictions_are_those_of_the_base_classifier(model, images, served):
    answer = served["predict_clean"](tf.constant(images))
    np.testing.assert_allclose(answer["logits"], model(images, training=False), atol=1e-4)
    np.testing.assert_array_equal(answer["label"], answer["logits"].numpy().argmax(axis=1))
    latents = served["encode"](tf.constant(images))["latents"]
    np.testing.assert_allclose(latents, model.encode(images), atol=1e-5)
    logits = served["classify"](latents)["logits"]
    np.testing.assert_allclose(logits, answer["logits"], atol=1e-5)


def test_votes_for_no_class_and_exact_noise_lower_what_is_served(model, images):
    certifier = Certifier(model, **SETTINGS, jit_compile=False, noise="exact")
    served = Signatures(certifier, RadiusTests(certifier), 200, 1_000)
    expected = lsrs_tf.certify(model, images, seed=0, verbose=0, noise="exact", **SETTINGS)
    answer = served.certify_with(**_with(images, 0))
    np.testing.assert_array_equal(answer["votes"], expected.counts)
    radius = answer["radius"].numpy().astype(np.float64)
    assert expected.scale.loss > 0 and np.all(radius <= expected.radii)
    np.testing.assert_allclose(radius, expected.radii, rtol=1e-6)


def test_noise_of_logits_is_served_with_few_latents(dense_model, images):
    certifier = Certifier(dense_model, **SETTINGS, jit_compile=False, noise="logits")
    served = Signatures(certifier, RadiusTests(certifier), 200, 1_000)
    expected = lsrs_tf.certify(dense_model, images, verbose=0, noise="logits", **SETTINGS)
    answer = served.certify_with(**_with(images, 0))
    np.testing.assert_array_equal(answer["votes"], expected.counts)
    assert expected.radii.max() > 0
    latents = served.encode(images)["latents"]
    assert latents.shape == (5, 3)
    logits = served.classify(latents)["logits"]
    np.testing.assert_allclose(logits, dense_model(images), atol=1e-5)
    np.testing.assert_allclose(served.predict_clean(images)["logits"], logits, atol=1e-6)
