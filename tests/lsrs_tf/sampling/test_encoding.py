import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, models
from lsrs_tf.models.freezing import freeze_encoder
from lsrs_tf.sampling.encoding import LatentEncoder
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

SHAPE = (8, 8, 1)


@pytest.fixture(autouse=True)
def _small_encoders_are_worthwhile(monkeypatch):
    monkeypatch.setattr("lsrs_tf.sampling.encoding._LEAST_BYTES", 0)


def _images(count):
    return np.random.default_rng(0).uniform(size=(count, *SHAPE)).astype(np.float32)


def _latent_encoder(*of_layers):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input(SHAPE), *of_layers])
    return LatentEncoder(freeze_encoder(encoder), lambda latent: tf.cast(latent, tf.float32))


def _convolutional():
    residual = layers.ConvexResidual(
        keras.Sequential([layers.OrthogonalConv2D(8, 3), layers.GroupSort()])
    )
    return [layers.OrthogonalConv2D(8, 3, strides=2), layers.GroupSort(), residual]


ENCODERS = {
    "convolutions": (_convolutional, False, 4),
    "by columns": (_convolutional, True, 16),
    "plain": (lambda: [keras.layers.Conv2D(6, 3, activation="tanh")], False, None),
    "dense": (lambda: [keras.layers.Flatten(), keras.layers.Dense(9)], False, None),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_latents_are_those_of_images_alone_to_the_last_bit(name, monkeypatch):
    make, by_columns, together = ENCODERS[name]
    if by_columns:
        monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    encoder = _latent_encoder(*make())
    images = _images(37)
    alone = [encoder.encode(image) for image in images]
    assert len(np.unique(alone)) > 0.9 * np.size(alone)
    rng = np.random.default_rng(1)
    for count in (0, 1, 2, 3, 4, 5, 15, 16, 17, 37):
        # In another order, with duplicates.
        order = rng.choice(37, count)
        found = encoder.encode_each(list(images[order]))
        assert len(found) == count
        for place, latent in zip(order, found, strict=True):
            np.testing.assert_array_equal(latent, alone[place])
    # Kernels of convolutions with a spectrum do not see the other images; of others, it depends.
    assert together in (None, encoder.images_together)


def test_latents_are_those_of_the_frozen_encoder_and_of_graphs(monkeypatch):
    model = models.convnet(width=4, num_classes=3)
    classifier = SmoothedClassifier(model)
    assert classifier.images_together == 4
    images = _images(5)
    frozen = model.freeze_encoder()
    for image, latent in zip(images, classifier.encode_each(images), strict=True):
        expected = frozen(image[np.newaxis]).numpy()[0].astype(np.float32)
        np.testing.assert_allclose(latent, expected, atol=1e-6)
        np.testing.assert_array_equal(latent, tf.function(classifier.encode_in_graph)(image))
    monkeypatch.undo()
    assert SmoothedClassifier(model).images_together == 1


def _functional(function):
    inputs = keras.Input(SHAPE, dtype="float64")
    encoder = keras.Model(inputs, keras.layers.Lambda(function, dtype="float64")(inputs))
    return LatentEncoder(encoder, lambda latent: tf.cast(latent, tf.float32))


def _by_place(values):
    places = tf.reshape(tf.range(tf.shape(values)[0]), [-1, 1, 1, 1])
    return values * (1 + 1e-15 * tf.cast(places == 2, tf.float64))


def _by_size(values):
    return values * (1 + 1e-15 * tf.cast(tf.shape(values)[0], tf.float64))


def _by_neighbours(values):
    return values + 1e-15 * tf.reduce_sum(values)


@pytest.mark.parametrize("function", [_by_place, _by_size, _by_neighbours])
def test_what_differs_in_a_batch_by_a_bit_of_float64_is_encoded_alone(function):
    encoder = _functional(function)
    assert encoder.images_together == 4
    images = _images(9)
    found = encoder.encode_each(images)
    assert encoder.images_together == 1
    np.testing.assert_array_equal(found, [encoder.encode(image) for image in images])
    # What is alike is not.
    alike = _functional(lambda values: 2 * values)
    np.testing.assert_array_equal(alike.encode_each(images), 2 * images)
    assert alike.images_together == 4


def test_a_check_that_was_interrupted_has_not_passed(monkeypatch):
    encoder = _functional(_by_place)
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "_is_as_alone", lambda batched: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            encoder.encode_each(_images(4))
    encoder.encode_each(_images(4))
    assert encoder.images_together == 1


def test_few_images_are_not_worth_a_batch(monkeypatch):
    encoder = _functional(tf.identity)
    rows = []
    monkeypatch.setattr(encoder, "_traced", lambda size: rows.append(size))
    encoder.encode_each(_images(1))
    assert rows == []
    encoder.images_together = 16
    encoder.encode_each(_images(3))
    encoder.warm_up()
    assert rows == []


def test_latent_that_is_not_finite_is_refused_wherever_it_is():
    encoder = _functional(lambda values: 1 / (values - 0.5))
    images = _images(6)
    images[4, 3, 3] = 0.5
    assert len(encoder.encode_each(images[:4])) == 4
    for part in (images, images[4:], images[4:5]):
        with pytest.raises(ValueError, match="not finite"):
            encoder.encode_each(part)
