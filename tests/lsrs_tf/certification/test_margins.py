import keras
import numpy as np
import pytest

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.certification.settings import Settings
from tests.lsrs_tf.models.test_base_classifier import _linear_model, _model

SHAPE = (4, 4, 1)


def _images(count):
    return np.random.default_rng(0).uniform(size=(count, *SHAPE)).astype(np.float32)


def test_the_result_is_about_the_base_classifier_and_holds_its_logits():
    model = _linear_model(np.eye(16, 3, dtype=np.float32), np.zeros(3, np.float32))
    images = _images(5)
    images[2].flat[:3] = 0.5
    result = lsrs_tf.certify(model, images, method="margin", verbose=0)
    assert isinstance(result, lsrs_tf.CertificationResult)
    assert result.classifier == "base" and "base classifier" in repr(result)
    np.testing.assert_allclose(result.logits, images.reshape(5, -1)[:, :3], rtol=1e-15)
    ordered = np.sort(result.logits, axis=1)
    np.testing.assert_allclose(result.margins, ordered[:, -1] - ordered[:, -2], rtol=1e-12)
    assert result.labels[2] == result.clean_labels[2] == -1 and result.radii[2] == 0
    assert (result.labels >= 0).sum() == 4


def test_certificates_do_not_depend_on_what_else_is_certified():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    images = np.random.default_rng(1).uniform(size=(4, 8, 8, 1)).astype(np.float32)
    together = lsrs_tf.certify(model, images, method="margin", verbose=0)
    certifier = lsrs_tf.Certifier(model, method="margin")
    for row, image in enumerate(images):
        alone = certifier.certify(image)
        assert alone.radius == together.radii[row]
        np.testing.assert_array_equal(alone.logits, together.logits[row])


def test_a_class_that_float32_gets_wrong_is_not_certified():
    # 5 + 1e8 is 1e8 + 8 in float32: the first logit is 8 there and 5 in truth; the second is 6.
    model = _model(keras.layers.Flatten(), keras.layers.Dense(1), keras.layers.Dense(2))
    first, second = model.head.layers[1:]
    first.set_weights([np.full((16, 1), 0.3125, np.float32), np.float32([1e8])])
    second.set_weights([np.float32([[1, 0]]), np.float32([-1e8, 6])])
    image = np.ones((1, *SHAPE), np.float32)
    assert model.predict(image, verbose=0).argmax() == 0
    result = lsrs_tf.certify(model, image, method="margin", verbose=0)
    assert result.labels[0] == 1
    # The true margin is 1, the constant 1.25.
    assert 0.79 < result.radii[0] <= 0.8
    # Beyond what float64 holds there is no certificate at all.
    first.bias.assign([1e17])
    second.bias.assign([-1e17, 6])
    result = lsrs_tf.certify(model, image, method="margin", verbose=0)
    assert result.labels[0] == -1 and result.radii[0] == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"target_radii": [0.25]},
        {"tolerance": 0.1},
        {"n": 1_000},
        {"n0": 10},
        {"alpha": 0.01},
        {"against": "runner_up"},
        {"noise": "exact"},
        {"images_per_draw": 16},
    ],
)
def test_settings_of_samples_are_refused(changed):
    (name,) = changed
    with pytest.raises(ValueError, match=f"takes no noisy samples.*Leave out {name}="):
        Settings(method="margin", **changed)


def test_sigma_is_refused():
    model = _linear_model(np.eye(16, 2, dtype=np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="leave out `sigma`"):
        lsrs_tf.certify(model, _images(1), method="margin", sigma=0.5, verbose=0)


def test_a_model_without_noise_trains_and_is_certified_by_margins_only():
    model = _linear_model(np.eye(16, 2, dtype=np.float32), np.zeros(2, np.float32))
    assert model.sigma == 0
    images = _images(8)
    np.testing.assert_array_equal(model(images, training=True), model(images, training=False))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, np.arange(8) % 2, verbose=0)
    for function in (lsrs_tf.certify, lsrs_tf.predict):
        with pytest.raises(ValueError, match="sigma=0 has no noise.*method='margin'"):
            function(model, images, verbose=0)
    # With noise of one's own choice it may be smoothed.
    assert len(lsrs_tf.predict(model, images, sigma=0.1, n=100, verbose=0)) == 8
    restored = models.LatentSmoothingModel.from_config(model.get_config())
    assert restored.sigma == 0


def test_there_is_no_other_alpha():
    model = _linear_model(np.eye(16, 2, dtype=np.float32), np.zeros(2, np.float32))
    result = lsrs_tf.certify(model, _images(2), method="margin", verbose=0)
    with pytest.raises(ValueError, match="nothing to do"):
        lsrs_tf.recertify(result, alpha=0.01)


def test_each_kind_of_certifier_names_the_other():
    model = _linear_model(np.eye(16, 2, dtype=np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="no smoothed classifier"):
        lsrs_tf.Certifier(model, method="margin").classifier  # noqa: B018
    with pytest.raises(ValueError, match="method='fixed' certifies its smoothed"):
        lsrs_tf.Certifier(model, sigma=0.5).base_classifier  # noqa: B018


def test_images_before_an_invalid_one_are_certified():
    # Images are evaluated in groups of four.
    images = [*_images(6), np.full_like(_images(1)[0], np.nan), *_images(1)]
    model = _linear_model(np.eye(16, 3, dtype=np.float32), np.zeros(3, np.float32))
    certifier = lsrs_tf.Certifier(model, method="margin")
    certificates = certifier.certify_each(images)
    found = [next(certificates) for _ in range(6)]
    expected = lsrs_tf.certify(model, np.stack(images[:6]), method="margin", verbose=0)
    np.testing.assert_array_equal([entry.radius for entry in found], expected.radii)
    with pytest.raises(ValueError, match="6"):
        next(certificates)
