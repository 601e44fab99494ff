import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.attacks.functions import attacker_of
from lsrs_tf.attacks.goal import Goal
from lsrs_tf.certification.settings import Settings
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

_COMMON = {"n0": 20, "n": 300, "alpha": 0.01, "seed": 3, "batch_size": 32, "verbose": 0}
# Where float32 and bfloat16 tell a pixel of .5 from this one, and where they do not.
_THRESHOLD = np.float32(0.5 + 2.0**-11)
_PIXEL = np.full((1, 1, 1, 1), 0.5 + 2.0**-10, np.float32)


def _images(count=3):
    return np.random.default_rng(0).uniform(size=(count, 8, 8, 1)).astype(np.float32)


def _model():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    rng = np.random.default_rng(5)
    for weight in model.head.weights:
        values = rng.normal(size=weight.shape) / max(1, np.prod(weight.shape[:-1])) ** 0.5
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def _under_policy(model):
    """Returns the model with a head that was made under Keras' policy, with the same weights."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = models.convnet(width=4, num_classes=3).head
    finally:
        keras.config.set_dtype_policy("float32")
    head.set_weights(model.head.get_weights())
    return models.LatentSmoothingModel(model.encoder, head, model.sigma)


def _fine_model():
    """Returns a model that says 1 for pixels above the threshold: cast, it sees .5 in `_PIXEL`."""
    encoder = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Identity()])
    head = keras.Sequential(
        [
            keras.Input((1, 1, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
            keras.layers.Dense(2),
        ]
    )
    head.set_weights(
        [np.ones((1, 1)), np.zeros(1), np.array([[0.0, 1.0]]), np.array([_THRESHOLD, 0.0])]
    )
    return models.LatentSmoothingModel(encoder, head, sigma=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"noise": "exact", "images_per_draw": 2},
        {"method": "sequential", "target_radii": [0.05, 0.1], "n": 600},
    ],
)
def test_certificates_are_those_of_the_head_under_keras_policy(settings):
    model, settings = _model(), {**_COMMON, **settings}
    cast = lsrs_tf.certify(model, _images(), head_dtype="bfloat16", **settings)
    trained = lsrs_tf.certify(_under_policy(model), _images(), **settings)
    for name in ("labels", "clean_labels", "radii", "p_lower", "counts", "selection_counts"):
        np.testing.assert_array_equal(getattr(cast, name), getattr(trained, name))
    # Encoder, bound and noise are those of the model.
    assert cast.scale == trained.scale
    assert cast.settings == dataclasses.replace(trained.settings, head_dtype="bfloat16")
    assert "head_dtype='bfloat16'" in repr(cast)


def test_all_answers_are_about_the_same_classifier():
    model = _fine_model()
    for head_dtype, label in ((None, 1), ("bfloat16", 0)):
        settings = {**_COMMON, "head_dtype": head_dtype}
        result = lsrs_tf.certify(model, _PIXEL, **settings)
        assert result.labels.tolist() == result.clean_labels.tolist() == [label]
        assert lsrs_tf.recertify(result, alpha=0.1).settings.head_dtype == head_dtype
        labels = lsrs_tf.predict(model, _PIXEL, n=100, head_dtype=head_dtype, verbose=0)
        assert labels.tolist() == [label]
        certifier = lsrs_tf.Certifier(model, n=100, head_dtype=head_dtype)
        assert certifier.columns().get("head_dtype") == head_dtype
        assert certifier.certify(_PIXEL[0]).label == label
        attacker = attacker_of(certifier.classifier, "ddn", classifier="smoothed", steps=1, n=100)
        (outcome,) = attacker.outcomes([(_PIXEL[0], Goal(label), np.inf)])
        assert outcome.clean_label == label


def test_latents_and_noise_stay_in_float32():
    # What the cast head gets is the float32 sum: noise in bfloat16 would vanish next to .5.
    model = _fine_model()
    cast = SmoothedClassifier(model, head_dtype="bfloat16", batch_size=8)
    plain = SmoothedClassifier(model, batch_size=8)
    for classifier in (cast, plain):
        assert classifier.noise.sigma == np.float32(1e-6)
    np.testing.assert_array_equal(cast.encode(_PIXEL[0]), plain.encode(_PIXEL[0]))
    assert cast.encode(_PIXEL[0]).dtype == tf.float32
    assert cast.head.inputs[0].dtype == "float32"


def test_columns_say_so_and_are_those_of_before_without_a_cast():
    plain, cast = Settings().columns(), Settings(head_dtype="bfloat16").columns()
    assert "head_dtype" not in plain
    assert cast == {**plain, "head_dtype": "bfloat16"}
    names = list(cast)
    assert names.index("head_dtype") == names.index("noise") + 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "margin"}, "Leave out head_dtype='bfloat16'"),
        ({"noise": "logits"}, "cannot be cast.*use noise='float32' or 'exact'"),
        ({"head_dtype": "float16"}, "must be one of 'bfloat16'"),
        ({"head_dtype": True}, "must be one of 'bfloat16'"),
    ],
)
def test_settings_without_a_proof_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"head_dtype": "bfloat16", **settings})
    if "noise" in settings:
        with pytest.raises(ValueError, match=message):
            SmoothedClassifier(_fine_model(), head_dtype="bfloat16", **settings)
