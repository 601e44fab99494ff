"""No attack within a certified radius succeeds, and no gradient is longer than its bound."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from lsrs_tf import layers, models
from lsrs_tf.models.base_classifier import BaseClassifier

SHAPE = (6, 6, 2)
CLASSES = 4
_IMAGES, _STARTS, _STEPS = 4, 5, 200

ENCODERS = {
    name: (lambda name=name: [layers.convolution(name)(4, 3), layers.GroupSort(2)])
    for name in layers.PARAMETRIZATIONS
}
ENCODERS |= {
    "none": lambda: [keras.layers.Identity()],
    "pooled": lambda: [layers.ScaledAveragePooling2D(2), layers.HouseholderActivation()],
    "keras": lambda: [
        keras.layers.Normalization(mean=[0.4, 0.6], variance=[0.04, 0.09]),
        keras.layers.SpectralNormalization(keras.layers.Conv2D(4, 3, padding="same")),
        keras.layers.LeakyReLU(),
    ],
    "transposed": lambda: [keras.layers.Conv2DTranspose(3, 3, strides=2), keras.layers.ReLU()],
}
HEADS = {
    "dense": lambda: [keras.layers.Flatten(), keras.layers.Dense(CLASSES)],
    "convolution": lambda: [
        keras.layers.Conv2D(6, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dense(CLASSES),
    ],
    "orthogonal": lambda: [
        keras.layers.Flatten(),
        layers.OrthogonalDense(8),
        layers.GroupSort(2),
        layers.OrthogonalDense(CLASSES),
    ],
    "lipschitz": lambda: [
        keras.layers.Flatten(),
        layers.SDPLipschitzDense(8),
        layers.BjorckDense(8),
        layers.GroupSort(4),
        layers.ExponentialDense(8),
        layers.SpectralDense(CLASSES),
    ],
    "loose": lambda: [
        keras.layers.Flatten(),
        keras.layers.Dense(CLASSES),
        layers.Sparsemax(2.0),
    ],
}
# Every encoder with one head, every head with one encoder.
NETWORKS = [(encoder, "dense") for encoder in ENCODERS] + [("none", head) for head in HEADS]
NETWORKS += [("cayley", "orthogonal"), ("sll", "lipschitz"), ("keras", "convolution")]


def _network(encoder, head, seed):
    keras.utils.set_random_seed(seed)
    encoder = keras.Sequential([keras.Input(SHAPE), *ENCODERS[encoder]()])
    head = keras.Sequential([keras.Input(encoder.output_shape[1:]), *HEADS[head]()])
    model = models.LatentSmoothingModel(encoder, head, 0.0)
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        # Biases, gains and factors that no initializer would choose.
        if weight.shape.rank == 1:
            weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    return model, rng.uniform(size=(_IMAGES, *SHAPE)).astype(np.float32)


def _attacked(network, image, label, radius, rng):
    """Returns the logits at the ends of PGD in a ball around one image, in [0, 1]."""
    image = tf.constant(image, tf.float64)
    others = tf.constant([j for j in range(CLASSES) if j != label])

    def inside(moved):
        change = moved - image
        norms = tf.norm(tf.reshape(change, [len(moved), -1]), axis=1)
        factors = radius / tf.maximum(norms, radius)
        # To clip moves a point nearer to the image, which is in [0, 1] itself.
        return tf.clip_by_value(
            image + factors[:, tf.newaxis, tf.newaxis, tf.newaxis] * change, 0.0, 1.0
        )

    @tf.function
    def step(moved, size):
        with tf.GradientTape() as tape:
            tape.watch(moved)
            logits = network(moved, training=False)
            loss = tf.reduce_max(tf.gather(logits, others, axis=1), axis=1) - logits[:, label]
        gradient = tape.gradient(loss, moved)
        norms = tf.norm(tf.reshape(gradient, [len(moved), -1]), axis=1)
        norms = tf.maximum(norms, 1e-300)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        return inside(moved + size * gradient / norms)

    moved = inside(image + tf.constant(rng.normal(size=(_STARTS, *SHAPE))) * radius)
    for index in range(_STEPS):
        moved = step(moved, tf.constant(radius * 0.5 * (1 - index / _STEPS), tf.float64))
    return network(moved, training=False).numpy()


@pytest.mark.parametrize(("encoder", "head"), NETWORKS)
def test_no_attack_within_a_radius_succeeds(encoder, head):
    model, images = _network(encoder, head, seed=0)
    classifier = BaseClassifier(model)
    result = lsrs_tf.certify(model, images, method="margin", verbose=0)
    assert (result.labels >= 0).any()
    rng = np.random.default_rng(1)
    for image, label, radius in zip(images, result.labels, result.radii, strict=True):
        if label == -1:
            continue
        logits = _attacked(classifier.network, image, int(label), radius * (1 - 1e-9), rng)
        assert (logits.argmax(axis=1) == label).all()


def test_an_attack_beyond_the_radius_of_a_linear_network_succeeds():
    # So that the attack is one.
    model, images = _network("none", "dense", seed=0)
    classifier = BaseClassifier(model)
    result = lsrs_tf.certify(model, images, method="margin", verbose=0)
    rng, found = np.random.default_rng(1), 0
    for image, label, radius in zip(images, result.labels, result.radii, strict=True):
        logits = _attacked(classifier.network, image, int(label), radius * 1.1, rng)
        found += (logits.argmax(axis=1) != label).any()
    # Pixels at the border may stand in the way of some.
    assert found >= _IMAGES // 2


@pytest.mark.parametrize(("encoder", "head"), NETWORKS)
def test_no_gradient_of_a_margin_is_longer_than_its_bound(encoder, head):
    model, images = _network(encoder, head, seed=2)
    classifier = BaseClassifier(model)
    bounds = classifier.margin_scale.pair_lipschitz
    rng = np.random.default_rng(3)
    points = np.concatenate([images, rng.uniform(size=(60, *SHAPE)), rng.normal(size=(8, *SHAPE))])
    points = tf.constant(points, tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(points)
        logits = classifier.network(points, training=False)
    jacobians = tape.batch_jacobian(logits, points, experimental_use_pfor=False).numpy()
    rows = jacobians.reshape(len(points), CLASSES, -1)
    longest = np.linalg.norm(rows[:, :, None] - rows[:, None], axis=-1).max(axis=0)
    assert np.all(longest <= bounds * (1 + 1e-12) + 1e-12)
    if head == "orthogonal" and encoder in ("none", "cayley"):
        assert longest.max() > 0.7 * bounds.max()
