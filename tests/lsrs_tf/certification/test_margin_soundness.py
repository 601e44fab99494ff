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


def _attacked(network, images, labels, radii, rng):
    """Returns the logits at the ends of PGD in a ball around each image, in [0, 1].

    Returns:
        Array [images, _STARTS, CLASSES].
    """
    moved = [
        image + rng.normal(size=(_STARTS, *SHAPE)) * r
        for image, r in zip(images, radii, strict=True)
    ]
    # One row for each start of each image.
    moved = tf.constant(np.concatenate(moved), tf.float64)
    centers, labels, radii = (
        np.repeat(values, _STARTS, axis=0) for values in (images, labels, radii)
    )
    centers = tf.constant(centers, tf.float64)
    radii = tf.constant(radii[:, None, None, None], tf.float64)
    own = tf.one_hot(labels, CLASSES, True, False)

    def norms(changes):
        return tf.sqrt(tf.reduce_sum(changes**2, axis=[1, 2, 3], keepdims=True))

    def inside(moved):
        change = moved - centers
        # To clip moves a point nearer to the image, which is in [0, 1] itself.
        return tf.clip_by_value(
            centers + radii / tf.maximum(norms(change), radii) * change, 0.0, 1.0
        )

    @tf.function
    def ends(moved):
        for index in tf.range(_STEPS):
            with tf.GradientTape() as tape:
                tape.watch(moved)
                logits = network(moved, training=False)
                others = tf.where(own, tf.constant(-np.inf, tf.float64), logits)
                # Rows do not depend on each other: this is the gradient of each.
                loss = tf.reduce_max(others, axis=1) - tf.boolean_mask(logits, own)
            gradient = tape.gradient(loss, moved)
            size = radii * 0.5 * (1 - tf.cast(index, tf.float64) / _STEPS)
            moved = inside(moved + size * gradient / tf.maximum(norms(gradient), 1e-300))
        return moved

    logits = network(ends(inside(moved)), training=False).numpy()
    return logits.reshape(-1, _STARTS, CLASSES)


@pytest.mark.parametrize(("encoder", "head"), NETWORKS)
def test_no_attack_within_a_radius_succeeds(encoder, head):
    model, images = _network(encoder, head, seed=0)
    classifier = BaseClassifier(model)
    result = lsrs_tf.certify(model, images, method="margin", verbose=0)
    assert (result.labels >= 0).any()
    certified = result.labels != -1
    labels, radii = result.labels[certified], result.radii[certified] * (1 - 1e-9)
    rng = np.random.default_rng(1)
    logits = _attacked(classifier.network, images[certified], labels, radii, rng)
    assert (logits.argmax(axis=2) == labels[:, None]).all()


def test_an_attack_beyond_the_radius_of_a_linear_network_succeeds():
    # So that the attack is one.
    model, images = _network("none", "dense", seed=0)
    classifier = BaseClassifier(model)
    result = lsrs_tf.certify(model, images, method="margin", verbose=0)
    assert (result.labels >= 0).all()
    rng = np.random.default_rng(1)
    logits = _attacked(classifier.network, images, result.labels, result.radii * 1.1, rng)
    found = (logits.argmax(axis=2) != result.labels[:, None]).any(axis=1)
    # Pixels at the border may stand in the way of some.
    assert found.sum() >= _IMAGES // 2


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
