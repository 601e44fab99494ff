import json
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from export.saved_model import export_saved_model
from lsrs_tf import models

SETTINGS = {"n0": 20, "n": 500, "alpha": 0.01}

# A process that finds neither this package nor Keras.
CLEAN = textwrap.dedent(
    """
    import json, sys
    import numpy as np, tensorflow as tf

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {"keras", "tf_keras", "tensorflow_probability", "lsrs_tf",
                                      "export", "experiments"}:
                raise ModuleNotFoundError(f"{name} is hidden")

    sys.meta_path.insert(0, Hidden())
    model = tf.saved_model.load(sys.argv[1])
    images = tf.constant(np.load(sys.argv[2]))
    answers = {
        "certify_with": model.signatures["certify_with"](
            images=images, seed=tf.zeros([len(images)], tf.int64)),
        "certify": model.signatures["certify"](images=images),
        "serving_default": model.signatures["serving_default"](images=images),
        "encode": model.signatures["encode"](images=images),
    }
    answers["classify"] = model.signatures["classify"](**answers["encode"])
    print(json.dumps({
        name: {key: value.numpy().tolist() for key, value in answer.items()}
        for name, answer in answers.items()}))
    """
)

# The loader of TensorFlow Serving: a session, a graph and no Python functions.
SESSION = textwrap.dedent(
    """
    import json, sys
    import numpy as np, tensorflow as tf

    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        model = v1.saved_model.load(session, ["serve"], sys.argv[1])
        images = np.load(sys.argv[2])
        signature = model.signature_def["certify_with"]
        answer = session.run(
            {name: info.name for name, info in signature.outputs.items()},
            {signature.inputs["images"].name: images,
             signature.inputs["seed"].name: np.zeros(len(images), np.int64)})
        print(json.dumps({name: value.tolist() for name, value in answer.items()}))
    """
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return models.convnet(width=4, num_classes=3, sigma=0.5)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(5, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def version(model, tmp_path_factory):
    return export_saved_model(model, tmp_path_factory.mktemp("served"), **SETTINGS)


def _ask(version, images, tmp_path, program=CLEAN):
    np.save(tmp_path / "images.npy", images)
    ended = subprocess.run(
        [sys.executable, "-c", program, str(version), str(tmp_path / "images.npy")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_clean_process_gives_the_answers_of_certify(model, images, version, tmp_path):
    first, second = (_ask(version, images, tmp_path) for _ in range(2))
    expected = lsrs_tf.certify(model, images, seed=0, verbose=0, **SETTINGS)
    served = first["certify_with"]
    np.testing.assert_array_equal(served["votes"], expected.counts)
    np.testing.assert_array_equal(served["label"], expected.labels)
    assert (expected.labels >= 0).any()
    radius = np.array(served["radius"])
    assert np.all(radius <= expected.radii)
    np.testing.assert_allclose(radius, expected.radii, rtol=1e-6, atol=0)
    assert np.all(np.array(served["p_lower"]) <= expected.p_lower)
    np.testing.assert_allclose(served["p_lower"], expected.p_lower, rtol=1e-6, atol=0)
    assert served["samples"] == [500] * 5
    # Reproducible with a seed, fresh without one.
    assert second["certify_with"] == served
    assert second["certify"]["votes"] != first["certify"]["votes"]
    assert first["serving_default"].keys() == served.keys()
    np.testing.assert_allclose(first["encode"]["latents"], model.encode(images), atol=1e-5)
    np.testing.assert_allclose(
        first["classify"]["logits"], model(images, training=False), atol=1e-4
    )


@pytest.mark.slow
def test_large_spectra_are_served_by_columns(monkeypatch, images, tmp_path):
    monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    version = export_saved_model(model, tmp_path / "served", **SETTINGS)
    expected = lsrs_tf.certify(model, images, seed=0, verbose=0, **SETTINGS)
    assert (expected.labels >= 0).any()
    served = _ask(version, images, tmp_path, SESSION)
    np.testing.assert_array_equal(served["votes"], expected.counts)


def test_session_loader_gives_the_same_votes(model, images, version, tmp_path):
    served = _ask(version, images, tmp_path, SESSION)
    expected = lsrs_tf.certify(model, images, seed=0, verbose=0, **SETTINGS)
    np.testing.assert_array_equal(served["votes"], expected.counts)
    np.testing.assert_array_equal(served["label"], expected.labels)


def test_row_does_not_depend_on_its_neighbours(images, version):
    certify_with = tf.saved_model.load(str(version)).signatures["certify_with"]
    seeds = tf.constant([4, 3, 2, 1, 0], tf.int64)
    together = certify_with(images=tf.constant(images), seed=seeds)
    for row in range(5):
        alone = certify_with(images=tf.constant(images[row : row + 1]), seed=seeds[row : row + 1])
        for name, value in alone.items():
            np.testing.assert_array_equal(value[0], together[name][row])


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.5])
def test_bad_row_abstains_and_harms_no_other(images, version, value):
    certify_with = tf.saved_model.load(str(version)).signatures["certify_with"]
    seeds = tf.zeros([5], tf.int64)
    clean = certify_with(images=tf.constant(images), seed=seeds)
    spoiled = images.copy()
    spoiled[2, 0, 0, 0] = value
    answer = certify_with(images=tf.constant(spoiled), seed=seeds)
    assert (answer["label"][2], answer["radius"][2], answer["p_lower"][2]) == (-1, 0, 0)
    others = [0, 1, 3, 4]
    for name in answer:
        np.testing.assert_array_equal(answer[name].numpy()[others], clean[name].numpy()[others])


def test_weights_are_stored_once(model, version):
    stored = tf.train.list_variables(str(version / "variables" / "variables"))
    shapes = sorted(
        tuple(shape) for _, shape in stored if "SAVE_COUNTER" not in _ and "_CHECK" not in _
    )
    weights = [*model.freeze_encoder().weights, *model.head.weights]
    assert shapes == sorted(tuple(weight.shape) for weight in weights)


def test_versions_count_up_and_none_is_half_there(model, version):
    directory = version.parent
    assert version.name == "1"
    assert export_saved_model(model, directory, **SETTINGS).name == "2"
    assert sorted(path.name for path in directory.iterdir()) == ["1", "2"]


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


def test_help_explains_the_signatures():
    ended = subprocess.run(
        [sys.executable, "-m", "export", "--help"], capture_output=True, text=True, check=False
    )
    for name in ("certify_with", "radius", "--run_dir", "--n0"):
        assert name in ended.stdout
