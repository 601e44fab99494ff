import keras
import numpy as np
import pytest

pytest.importorskip("apache_beam")

import apache_beam  # noqa: E402
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402
from apache_beam.testing.util import assert_that, equal_to  # noqa: E402

import lsrs_tf  # noqa: E402
import lsrs_tf.beam  # noqa: E402
from lsrs_tf import models  # noqa: E402
from lsrs_tf.models.fingerprints import fingerprint  # noqa: E402

_SETTINGS = {"n0": 10, "n": 100, "alpha": 0.01, "batch_size": 32, "seed": 5}
_TWO_PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return models.convnet(width=4, num_classes=3, sigma=0.5)


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path


def _images(count=5):
    return np.random.default_rng(0).uniform(size=(count, 8, 8, 1)).astype(np.float32)


def _text(certificate):
    """Returns a certificate to the last bit."""
    return repr(
        [
            (name, value.tolist() if hasattr(value, "tolist") else value)
            for name, value in vars(certificate).items()
        ]
    )


def _invalid():
    bad = _images(1)[0].copy()
    bad[3, 3] = np.nan
    whole = np.zeros((8, 8, 1), np.uint8)
    return [("nan", bad), ("shape", bad[:4]), ("bytes", whole), ("no", None)]


def _check(path, model, options=(), **settings):
    """Runs a pipeline of valid and invalid images, and compares it with one process."""
    settings = {**_SETTINGS, **settings}
    certifier = lsrs_tf.Certifier(model, **settings)
    expected = [(key, _text(certifier.certify(image))) for key, image in enumerate(_images())]
    valid, invalid = list(enumerate(_images())), _invalid()
    # Among the others, and in another order.
    pairs = [valid[4], invalid[0], valid[0], *invalid[1:], *valid[1:4]]
    with apache_beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        made = pipeline | apache_beam.Create(pairs) | apache_beam.Reshuffle()
        certified, failed = made | lsrs_tf.beam.Certify(path, **settings)
        assert_that(certified | apache_beam.MapTuple(_with_text), equal_to(expected), "certified")
        messages = failed | apache_beam.MapTuple(lambda key, text: f"{key}: {text.split('.')[0]}")
        assert_that(messages, equal_to([f"{key}: {text}" for key, text in _MESSAGES]), "failed")


def _with_text(key, certificate):
    return key, _text(certificate)


_MESSAGES = [
    ("nan", "Image nan has 1 pixels that are NaN or infinite"),
    ("shape", "Image shape has the wrong shape"),
    ("bytes", "Image bytes must hold floating point pixels in [0, 1]"),
    ("no", "Image no has the wrong shape"),
]


@pytest.mark.parametrize(
    "settings",
    [
        {"head_dtype": "bfloat16"},
        {"method": "sequential", "target_radii": [0.05, 0.1], "n": 300},
        {"noise": "exact", "images_per_draw": 2},
    ],
)
def test_certificates_are_those_of_one_process(path, model, settings):
    _check(path, model, **settings)


@pytest.mark.slow
def test_certificates_of_two_processes_are_those_of_one(path, model):
    _check(path, model, _TWO_PROCESSES)


def test_model_is_loaded_once_in_a_process(path, monkeypatch):
    loaded, load = [], keras.models.load_model
    monkeypatch.setattr(keras.models, "load_model", lambda name: loaded.append(name) or load(name))
    with apache_beam.Pipeline() as pipeline:
        made = pipeline | apache_beam.Create(list(enumerate(_images()))) | apache_beam.Reshuffle()
        certified, _ = made | lsrs_tf.beam.Certify(path, timed=True, **_SETTINGS)
        seconds = certified | apache_beam.MapTuple(lambda _, found: found[1] > 0)
        assert_that(seconds, equal_to([True] * 5))
    assert loaded == [str(path)]


def _run(transform):
    with apache_beam.Pipeline() as pipeline:
        _ = pipeline | apache_beam.Create([(0, _images(1)[0])]) | transform


def test_model_that_workers_cannot_read_ends_the_pipeline(tmp_path):
    (tmp_path / "damaged.keras").write_text("no model")
    for name in ("missing.keras", "damaged.keras"):
        with pytest.raises(Exception, match=f"cannot read the model .*{name}"):
            _run(lsrs_tf.beam.Certify(tmp_path / name, **_SETTINGS))


def test_workers_that_would_certify_something_else_end_the_pipeline(path, model):
    expected = {**lsrs_tf.Certifier(model, **_SETTINGS).columns(), "model": fingerprint(model)}
    _run(lsrs_tf.beam.Certify(path, expected=expected, **_SETTINGS))
    for name in ("model", "lipschitz", "head_dtype"):
        other = {**expected, name: "another"}
        with pytest.raises(Exception, match=f"certify something else .{name}: .* 'another' exp"):
            _run(lsrs_tf.beam.Certify(path, expected=other, **_SETTINGS))


def test_impossible_settings_are_refused_before_anything_runs(path):
    with pytest.raises(ValueError, match="Use n=10 or more"):
        lsrs_tf.beam.Certify(path, n=5)
    with pytest.raises(TypeError, match="unexpected keyword argument 'samples'"):
        lsrs_tf.beam.Certify(path, samples=5)


def test_image_whose_latent_is_not_finite_does_not_lose_the_others(model):
    class Fails:
        """A certifier whose encoder fails for one image, while others share its passes."""

        def __init__(self, certifier):
            self.certifier = certifier

        def certificates_of(self, pairs):
            for place, image in pairs:
                if image[0, 0, 0] == 1:
                    raise ValueError("The encoder gives values that are not finite")
                yield from self.certifier.certificates_of([(place, image)])

    certifier, images = lsrs_tf.Certifier(model, **_SETTINGS), _images(3)
    images[1, 0, 0] = 1
    pairs = [("same key", image) for image in images]
    found = list(lsrs_tf.beam.certified_or_failed(Fails(certifier), pairs))
    assert [key for key, _, _ in found] == ["same key"] * 3
    assert _text(found[0][1]) == _text(certifier.certify(images[0]))
    assert isinstance(found[1][1], ValueError)
    assert _text(found[2][1]) == _text(certifier.certify(images[2]))
