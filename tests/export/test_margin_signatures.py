import keras
import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from export.margin_signatures import MarginSignatures
from export.warmup import warmup_inputs
from lsrs_tf import models
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.statistics import confidence
from tests.export.conftest import margin_model

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def served(base_model):
    """The signatures as functions, as they are exported."""
    signatures = MarginSignatures(BaseClassifier(base_model))
    return {
        name: tf.function(function, input_signature=specs)
        for name, (function, specs) in signatures.endpoints_alone().items()
    }


def _images(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(count, *SHAPE)).astype(np.float32)


def _check(answer, model, images):
    expected = lsrs_tf.certify(model, images, method="margin", verbose=0)
    np.testing.assert_array_equal(answer["label"], expected.labels)
    radii = [confidence.float32_below(radius) for radius in expected.radii]
    np.testing.assert_array_equal(answer["radius"], radii)
    np.testing.assert_array_equal(answer["margin"], expected.margins)
    return expected


def test_every_input_and_output_has_a_batch_dimension(served, base_model):
    assert set(served) == {"certify_margin", "serving_default", "predict_clean"}
    signatures = MarginSignatures(BaseClassifier(base_model))
    assert set(signatures.endpoints()) == {"certify_margin"}
    inputs = warmup_inputs(signatures.endpoints_alone())
    for name, function in served.items():
        concrete = function.get_concrete_function()
        assert all(out.shape.rank >= 1 for out in concrete.structured_outputs.values())
        for rows in (0, 1, 6):
            answer = function(np.repeat(inputs[name]["images"], rows, axis=0))
            assert all(len(value) == rows for value in answer.values())


@pytest.mark.parametrize("rows", [1, 3, 4, 9, 32])
def test_certify_margin_is_lsrs_tf_certify_to_the_last_bit(served, base_model, rows):
    images = _images(rows)
    answer = served["certify_margin"](images)
    expected = _check(answer, base_model, images)
    assert (expected.labels >= 0).all() and (expected.radii > 0).all()
    dtypes = {name: value.dtype for name, value in answer.items()}
    assert dtypes == {"label": tf.int64, "radius": tf.float32, "margin": tf.float64}
    assert np.all(answer["radius"].numpy().astype(np.float64) <= expected.radii)
    clean = served["predict_clean"](images)
    np.testing.assert_array_equal(clean["label"], expected.clean_labels)
    np.testing.assert_array_equal(clean["logits"], expected.logits.astype(np.float32))


def test_rows_together_are_answered_as_rows_alone(served):
    images = _images(64)
    together = served["certify_margin"](images)
    for row in range(64):
        alone = served["certify_margin"](images[row : row + 1])
        for name, value in together.items():
            np.testing.assert_array_equal(value[row], alone[name][0])


@pytest.mark.parametrize("parametrization", ["sll", "aol", "soc", "bro", "scfac"])
def test_other_parametrizations_are_served_alike(parametrization):
    model = margin_model(parametrization)
    signatures = MarginSignatures(BaseClassifier(model))
    images = _images(7)
    _check(tf.function(signatures.certify_margin)(images), model, images)


@pytest.mark.parametrize("pixel", [np.nan, np.inf, -np.inf, -1e-6, 1.0 + 1e-6, 3e38])
def test_bad_pixels_are_refused_and_harm_no_neighbour(served, pixel):
    images = _images(5)
    clean = served["certify_margin"](images)
    images[2, 0, 0, 0] = pixel
    answer = served["certify_margin"](images)
    assert [answer[name][2] for name in ("label", "radius", "margin")] == [-1, 0, 0]
    others = [0, 1, 3, 4]
    for name in answer:
        np.testing.assert_array_equal(answer[name].numpy()[others], clean[name].numpy()[others])
    predicted = served["predict_clean"](images)
    assert predicted["label"][2] == -1 and not np.any(predicted["logits"][2])


def test_ties_and_margins_within_the_rounding_abstain():
    encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()])
    head = keras.Sequential([keras.Input((64,)), keras.layers.Dense(3)])
    head.layers[0].set_weights([np.eye(64, 3, dtype=np.float32), np.zeros(3, np.float32)])
    model = models.LatentSmoothingModel(encoder, head, 0.0)
    signatures = MarginSignatures(BaseClassifier(model))
    images = np.zeros((3, *SHAPE), np.float32)
    images[:, 0, :2, 0] = 0.5
    images[1, 0, 0, 0] = np.float32(2e-30)
    images[1, 0, 1, 0] = np.float32(1e-30)
    images[2, 0, 0, 0] = 0.75
    answer = tf.function(signatures.certify_margin)(images)
    assert answer["label"].numpy().tolist() == [-1, -1, 0]
    assert answer["radius"].numpy()[:2].tolist() == [0, 0]
    assert 0.1767 < answer["radius"][2] <= 0.25 / np.sqrt(2)
    _check(answer, model, images)
    assert tf.function(signatures.predict_clean)(images)["label"].numpy().tolist() == [-1, 0, 0]


def test_images_of_another_shape_are_an_error(served):
    with pytest.raises((TypeError, ValueError), match=r"shape|Shape|\(1, 4, 8, 1\)"):
        served["certify_margin"](np.zeros((1, 4, 8, 1), np.float32))
