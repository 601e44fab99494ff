import json
import os
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from export.checking import ask
from export.model_card import read_model_card
from export.saved_model import export_margin_model, export_saved_model
from export.saved_model_file import read_functions
from export.warmup import PLACE
from lsrs_tf import layers, models
from lsrs_tf.certification.certifier import Certifier
from tests.export.conftest import SETTINGS

v1 = tf.compat.v1


def _with(images, seed=0, n=500, alpha=0.01):
    rows = len(images)
    return {
        "images": images,
        "seed": np.full(rows, seed, np.int64),
        "n": np.full(rows, n, np.int32),
        "alpha": np.full(rows, alpha),
    }


@pytest.fixture
def session(version):
    """A function (signature, inputs, options) that answers as the server's session does."""
    with v1.Session(graph=tf.Graph()) as session:
        model = v1.saved_model.load(session, ["serve"], str(version))

        def run(name, inputs, options=None):
            signature = model.signature_def[name]
            return session.run(
                {key: info.name for key, info in signature.outputs.items()},
                {signature.inputs[key].name: value for key, value in inputs.items()},
                options=options,
            )

        yield run


@pytest.mark.slow
def test_every_signature_answers_in_two_fresh_processes_without_this_package(
    model, images, version
):
    radius = np.full(5, 0.1, np.float32)
    requests = {
        "serving_default": {"images": images},
        "predict_smoothed": {"images": images},
        "certify": {"images": images},
        "certify_with": _with(images, seed=3),
        "certify_at": {"images": images, "radius": radius},
        "predict_clean": {"images": images},
        "encode": {"images": images},
        "classify": {"latents": model.encode(images).numpy()},
    }
    first, second = (ask(version, requests) for _ in range(2))
    assert set(first) == set(requests)
    # Without a seed the noise is fresh after every start, although TensorFlow's was set when the
    # version was exported; with one it is the same.
    assert np.any(first["certify"]["votes"] != second["certify"]["votes"])
    for name, value in first["certify_with"].items():
        np.testing.assert_array_equal(value, second["certify_with"][name])
    expected = lsrs_tf.certify(model, images, seed=3, verbose=0, **SETTINGS)
    np.testing.assert_array_equal(first["certify_with"]["votes"], expected.counts)
    np.testing.assert_array_equal(first["certify_with"]["label"], expected.labels)
    np.testing.assert_allclose(first["certify_with"]["radius"], expected.radii, rtol=1e-6)
    engine = Certifier(model, method="sequential", target_radii=0.1, **SETTINGS)
    surely = engine.certify(images[0]).label
    assert {first["certify_at"]["label"][0], surely} <= {surely, -1}
    np.testing.assert_array_equal(first["predict_clean"]["label"], expected.clean_labels)


@pytest.mark.slow
def test_large_spectra_are_served_by_columns(monkeypatch, images, tmp_path):
    monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    frozen = model.freeze_encoder()
    assert not any(isinstance(layer, layers.SpectralConv2D) for layer in frozen.layers)
    # The check of the export compares the votes in a process of its own.
    version = export_saved_model(model, tmp_path / "served", **SETTINGS)
    expected = lsrs_tf.certify(model, images, seed=0, verbose=0, **SETTINGS)
    served = tf.saved_model.load(str(version)).signatures["certify_with"]
    answer = served(**{name: tf.constant(value) for name, value in _with(images).items()})
    np.testing.assert_array_equal(answer["votes"], expected.counts)


def test_merged_requests_are_answered_as_separate_ones(images, session):
    rows = [0, 1, 2, 2, 2]
    merged = session("certify_with", _with(images[rows], seed=5))
    for row, source in enumerate(rows):
        alone = session("certify_with", _with(images[[source]], seed=5))
        for name, value in merged.items():
            np.testing.assert_array_equal(value[row], alone[name][0], err_msg=name)


def test_deadline_ends_a_request_and_leaves_the_next_one_unharmed(images, session):
    before = session("certify_with", _with(images[:1]))
    options = v1.RunOptions(timeout_in_ms=200)
    start = time.perf_counter()
    with pytest.raises(tf.errors.DeadlineExceededError):
        session("certify_with", _with(images[:1], n=1_000_000), options)
    assert time.perf_counter() - start < 2
    after = session("certify_with", _with(images[:1]), options)
    np.testing.assert_array_equal(after["votes"], before["votes"])


def test_weights_are_stored_once_behind_one_handle_each(model, version):
    stored = tf.train.list_variables(str(version / "variables" / "variables"))
    bookkeeping = ("SAVE_COUNTER", "_CHECK")
    shapes = sorted(
        tuple(shape) for name, shape in stored if not any(word in name for word in bookkeeping)
    )
    weights = [*model.freeze_encoder().weights, *model.head.weights]
    assert shapes == sorted(tuple(weight.shape) for weight in weights)
    with v1.Session(graph=tf.Graph()) as session:
        v1.saved_model.load(session, ["serve"], str(version))
        handles = [n for n in session.graph.as_graph_def().node if n.op == "VarHandleOp"]
    names = [node.attr["shared_name"].s for node in handles]
    assert len(names) == len(set(names))
    # One more is the counter of the save.
    assert len(weights) <= len(names) <= len(weights) + 1


def test_nothing_needs_xla_or_python(version):
    functions = read_functions(version)
    operations = {node.op for function in functions for node in function.node_def}
    assert "StatelessRandomUniformFullIntV2" in operations
    assert not operations & {"PyFunc", "EagerPyFunc", "XlaLaunch"}
    assert not any(function.attr["_XlaMustCompile"].b for function in functions)


@pytest.mark.slow
def test_export_with_xla_compiles_the_passes_of_the_head_and_says_so(model, full_export):
    version, *_ = full_export
    assert any(function.attr["_XlaMustCompile"].b for function in read_functions(version))
    compose = (version.parent / "compose.yaml").read_text()
    assert "--xla_cpu_compilation_enabled=true" in compose
    # A stock server must not come upon it.
    with pytest.raises(ValueError, match="needs XLA, and the new one does not need it"):
        export_saved_model(model, version.parent, **SETTINGS)


def test_layers_that_only_xla_runs_are_refused(model, tmp_path):
    latents = keras.Input((4, 4, 8))
    hidden = keras.layers.Conv2D(8, 3, groups=4)(latents)
    logits = keras.layers.Dense(3)(keras.layers.Flatten()(hidden))
    grouped = models.LatentSmoothingModel(model.encoder, keras.Model(latents, logits), 0.5)
    with pytest.raises(ValueError, match="groups"):
        export_saved_model(grouped, tmp_path / "served", **SETTINGS)
    assert not list((tmp_path / "served").iterdir())


def test_everything_lies_in_the_directory(version):
    assert {path.name for path in version.iterdir()} >= {"saved_model.pb", "variables"}
    assert (version / PLACE).is_file()
    card = json.loads((version / "assets.extra" / "model_card.json").read_text())
    assert card["name"] == "digits"
    names = {"batching_parameters.txt", "compose.yaml", "monitoring.config", "1"}
    assert {path.name for path in version.parent.iterdir()} == names


def test_name_on_a_server_may_differ_from_the_folder(model, tmp_path, monkeypatch):
    monkeypatch.setattr("export.saved_model.check_export", lambda *_: None)
    version = export_saved_model(model, tmp_path / "saved_model", **SETTINGS, name="digits_ls")
    assert read_model_card(version)["name"] == "digits_ls"
    assert "MODEL_NAME: digits_ls\n" in (version.parent / "compose.yaml").read_text()


def test_versions_count_up_and_none_is_replaced_or_half_there(model, tmp_path, monkeypatch):
    monkeypatch.setattr("export.saved_model.check_export", lambda *_: None)
    assert export_saved_model(model, tmp_path, **SETTINGS).name == "1"
    rename, taken = os.rename, []

    def rename_after_another_export(source, target):
        if not taken:
            taken.append(target)
            (tmp_path / "2").mkdir()
            (tmp_path / "2" / "theirs").touch()
        return rename(source, target)

    monkeypatch.setattr(os, "rename", rename_after_another_export)
    (tmp_path / "compose.yaml").write_text("mine")
    assert export_saved_model(model, tmp_path, **SETTINGS).name == "3"
    assert [path.name for path in (tmp_path / "2").iterdir()] == ["theirs"]
    assert (tmp_path / "compose.yaml").read_text() == "mine"
    assert not list(tmp_path.glob(".unfinished*"))


def test_failed_export_leaves_nothing(model, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        export_saved_model(model, tmp_path, **SETTINGS)
    assert not list(tmp_path.iterdir())


def test_encoder_without_a_bound_is_refused(model, tmp_path):
    images = keras.Input((8, 8, 1))
    latents = keras.layers.Conv2D(8, 3, strides=2, padding="same")(images)
    encoder = keras.Model(images, keras.layers.LayerNormalization()(latents))
    unbounded = models.LatentSmoothingModel(encoder, model.head, 0.5)
    with pytest.raises(ValueError, match="No Lipschitz bound"):
        export_saved_model(unbounded, tmp_path)


@pytest.mark.parametrize("export", [export_saved_model, export_margin_model])
def test_models_that_are_not_smoothed_are_refused(export, tmp_path):
    plain = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match=r"needs a .*LatentSmoothingModel. Received: Sequential"):
        export(plain, tmp_path)
    with pytest.raises(ValueError, match=r"needs a .*LatentSmoothingModel. Received: NoneType"):
        export(None, tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("value", [0, 1_000_001])
@pytest.mark.parametrize("name", ["n0", "n", "predict_n", "max_n"])
def test_impossible_numbers_of_samples_are_refused(model, tmp_path, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        export_saved_model(model, tmp_path, **{**SETTINGS, "max_n": 500, name: value})
    assert not any(tmp_path.iterdir())


def test_impossible_alpha_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="at least 1e-100"):
        export_saved_model(model, tmp_path, **{**SETTINGS, "alpha": 1e-200})
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_export_with_noise_of_logits_certifies_as_this_process(dense_model, images, tmp_path):
    version = export_saved_model(
        dense_model, tmp_path / "dense", **SETTINGS, predict_n=200, noise="logits"
    )
    served = tf.saved_model.load(str(version)).signatures["certify_with"]
    answer = served(**{name: tf.constant(value) for name, value in _with(images).items()})
    expected = lsrs_tf.certify(dense_model, images, verbose=0, noise="logits", **SETTINGS)
    np.testing.assert_array_equal(answer["votes"], expected.counts)
    assert read_model_card(version)["certificates"]["noise"] == "logits"
