import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

import lsrs_tf
from export.checking import ask, check_margins
from export.saved_model import export_margin_model, export_saved_model
from export.saved_model_file import read_functions, read_signatures
from export.warmup import PLACE
from lsrs_tf import models
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.statistics import confidence
from tests.export.conftest import SETTINGS, margin_model

v1 = tf.compat.v1

SIGNATURES = {
    *("certify_margin", "predict_clean", "serving_default"),
    *("certify_margin_bytes", "predict_clean_bytes", "decode"),
}


def _images(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(count, 8, 8, 1)).astype(np.float32)


def _check(answer, expected):
    np.testing.assert_array_equal(answer["label"], expected.labels)
    radii = [confidence.float32_below(radius) for radius in expected.radii]
    np.testing.assert_array_equal(answer["radius"], radii)
    np.testing.assert_array_equal(answer["margin"], expected.margins)


def test_the_session_answers_as_python_whatever_the_batch(base_model, base_version):
    images = _images(64)
    expected = lsrs_tf.certify(base_model, images, method="margin", verbose=0)
    assert (expected.labels >= 0).all()
    rng = np.random.default_rng(0)
    with v1.Session(graph=tf.Graph()) as session:
        loaded = v1.saved_model.load(session, ["serve"], str(base_version))
        for name in ("certify_margin", "serving_default"):
            signature = loaded.signature_def[name]
            outputs = {key: info.name for key, info in signature.outputs.items()}
            for size in (0, 1, 2, 5, 8, 63, 64):
                order = rng.permutation(64)[:size]
                answer = session.run(outputs, {signature.inputs["images"].name: images[order]})
                np.testing.assert_array_equal(answer["margin"], expected.margins[order])
                np.testing.assert_array_equal(answer["label"], expected.labels[order])
            _check(session.run(outputs, {signature.inputs["images"].name: images}), expected)


def test_nothing_is_sampled(base_version):
    assert set(read_signatures(base_version)) == SIGNATURES
    operations = {
        node.op for function in read_functions(base_version) for node in function.node_def
    }
    assert not any("Random" in operation for operation in operations)
    names = {path.name for path in base_version.parent.iterdir()}
    assert names == {"batching_parameters.txt", "compose.yaml", "monitoring.config", "1"}


def test_warm_up_asks_every_signature(base_version):
    requests = {}
    for record in tf.data.TFRecordDataset(str(base_version / PLACE)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        requests[request.model_spec.signature_name] = inputs
    assert set(requests) == SIGNATURES
    answers = ask(base_version, requests)
    assert all(len(value) == 1 for answer in answers.values() for value in answer.values())


def test_the_check_notices_another_model(base_model, base_version):
    check_margins(base_version, BaseClassifier(base_model))
    other = keras.models.clone_model(base_model.head)
    other.set_weights(base_model.head.get_weights())
    logits = other.layers[-1]
    kernel, bias = logits.get_weights()
    kernel[0, 0] = np.nextafter(kernel[0, 0], np.float32(9))
    logits.set_weights([kernel, bias])
    changed = models.LatentSmoothingModel(base_model.encoder, other, 0.0)
    with pytest.raises(ArithmeticError, match="this process"):
        check_margins(base_version, BaseClassifier(changed))


def test_models_without_noise_are_exported_by_margins_only(base_model, tmp_path):
    with pytest.raises(ValueError, match="sigma=0 has no noise.*export_margin_model"):
        export_saved_model(base_model, tmp_path / "served")
    assert not (tmp_path / "served").exists()


def test_heads_without_a_bound_are_refused(base_model, tmp_path):
    latents = keras.Input(base_model.encoder.output_shape[1:])
    normalized = keras.layers.LayerNormalization()(keras.layers.Flatten()(latents))
    head = keras.Model(latents, keras.layers.Dense(3)(normalized))
    model = models.LatentSmoothingModel(base_model.encoder, head, 0.5)
    with pytest.raises(ValueError, match="No Lipschitz bound.*method='margin'"):
        export_margin_model(model, tmp_path / "served")
    with pytest.raises(ValueError, match="No Lipschitz bound.*method='margin'"):
        export_saved_model(model, tmp_path / "served", **SETTINGS, margin=True)
    assert not (tmp_path / "served").exists()


@pytest.mark.slow
def test_margins_are_served_in_addition_to_samples(model, images, full_export):
    version, started, traced = full_export
    # Both are slow, and to do them once is enough.
    assert started == traced == 1
    signatures = set(read_signatures(version))
    assert {"certify_margin", "certify", "certify_with", "certify_at"} < signatures
    expected = lsrs_tf.certify(model, images, method="margin", verbose=0)
    answers = ask(
        version,
        {"certify_margin": {"images": images}, "serving_default": {"images": images}},
    )
    _check(answers["certify_margin"], expected)
    assert set(answers["serving_default"]) == {"label", "votes"}
    card = json.loads((version / "assets.extra" / "model_card.json").read_text())
    assert {"certificates", "margin_certificates"} < set(card)


@pytest.mark.slow
@pytest.mark.parametrize("parametrization", ["cayley", "sll"])
def test_fresh_processes_answer_as_python(parametrization, base_model, base_version, tmp_path):
    model, version = base_model, base_version
    if parametrization != "cayley":
        model = margin_model(parametrization)
        version = export_margin_model(model, tmp_path / "served")
    images = _images(9)
    answer = ask(version, {"certify_margin": {"images": images}})["certify_margin"]
    _check(answer, lsrs_tf.certify(model, images, method="margin", verbose=0))
