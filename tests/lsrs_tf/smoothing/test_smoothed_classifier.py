import keras
import numpy as np
import pytest

from lsrs_tf import models
from lsrs_tf.smoothing import noise
from lsrs_tf.smoothing.smoothed_classifier import SmoothedClassifier


def _image(seed=0):
    return np.random.default_rng(seed).uniform(size=(8, 8, 1)).astype(np.float32)


def test_counts_are_those_of_the_head_on_the_noisy_latent():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    classifier = SmoothedClassifier(model, batch_size=64)
    image = _image()
    (counts,) = classifier.count(image, [(noise.ESTIMATION, 500)], seed=3)
    latent = model.freeze_encoder()(image[np.newaxis]).numpy()[0].astype(np.float32)
    stream = noise.stream(3, image, noise.ESTIMATION)
    draws = noise.standard_normal(stream, 0, 500, latent.shape).numpy()
    labels = model.classify(latent + np.float32(0.5) * draws).numpy().argmax(axis=1)
    # A vote on the very boundary may fall to either side in a batch of another size.
    assert np.abs(counts - np.bincount(labels, minlength=3)).sum() <= 2


def test_compiled_by_xla_it_counts_the_same_but_for_rounding():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    requests = [(noise.SELECTION, 50), (noise.ESTIMATION, 500)]
    plain = SmoothedClassifier(model, jit_compile=False).count(_image(), requests, seed=0)
    compiled = SmoothedClassifier(model, jit_compile=True).count(_image(), requests, seed=0)
    for left, right in zip(plain, compiled, strict=True):
        assert left.sum() == right.sum()
        assert np.abs(left - right).sum() <= 4


def test_identity_encoder_smooths_input_space():
    model = models.convnet(orthogonal_layers=0, width=4, sigma=0.3)
    classifier = SmoothedClassifier(model)
    assert classifier.lipschitz == 1.0
    assert classifier.latent_shape == classifier.image_shape == (8, 8, 1)
    image = _image()
    np.testing.assert_array_equal(classifier.latent(image), image)


def test_unknown_image_size_is_refused():
    images = keras.Input((None, None, 1))
    encoder = keras.Model(images, keras.layers.Identity()(images))
    head = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    with pytest.raises(ValueError, match="size"):
        SmoothedClassifier(models.LatentSmoothingModel(encoder, head, 0.25))
