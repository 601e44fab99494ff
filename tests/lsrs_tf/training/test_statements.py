"""Values and gradients of objectives, against their statements in NumPy and differences."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from lsrs_tf import models, training
from tests.lsrs_tf.training import statements

SIGMA = 0.5
LABELS = np.array([0, 1, 2, 0, 2])
IMAGES = np.random.default_rng(1).normal(size=(5, 3))


@pytest.fixture
def model():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        head = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(3)]
        )
        made = models.LatentSmoothingModel(encoder, head, SIGMA)
    finally:
        keras.config.set_dtype_policy(policy)
    rng = np.random.default_rng(0)
    made.set_weights(
        [rng.normal(size=weight.shape) for weight in made.weights[:6]]
        + [np.array(weight) for weight in made.weights[6:]]
    )
    made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


def _restart(model):
    model.noise.seed_generator.state.assign([3, 0])


def _noise(model, *shape):
    return np.array(model.noise(np.zeros(shape), training=True))


def _noises(model, number):
    """Returns the noises [image, noise, latent] of the next step."""
    drawn = SIGMA * _noise(model, number * len(LABELS), 4)
    return drawn.reshape(number, len(LABELS), 4).transpose(1, 0, 2)


def _encode(weights, image):
    return image @ weights[0] + weights[1]


def _head(weights):
    return lambda latent: np.tanh(latent @ weights[2] + weights[3]) @ weights[4] + weights[5]


def _weights(model):
    return [np.array(weight) for weight in model.trainable_weights]


def _check(model, objective, statement, tolerance=1e-6, labels=LABELS):
    """Compares loss and gradients with those of `statement(weights, image, label, index)`."""
    weights = _weights(model)

    def mean_of(weights):
        return np.mean(
            [
                statement(weights, image, label, index)
                for index, (image, label) in enumerate(zip(IMAGES, labels, strict=True))
            ]
        )

    _restart(model)
    with tf.GradientTape() as tape:
        loss, logits = objective.loss_and_logits(model, tf.constant(IMAGES), labels, None)
    assert logits.shape == (5, 3)
    assert float(loss) == pytest.approx(mean_of(weights), abs=tolerance)
    for place, gradient in enumerate(tape.gradient(loss, model.trainable_weights)):

        def moved(values, place=place):
            return mean_of([*weights[:place], values, *weights[place + 1 :]])

        expected = statements.differences(moved, weights[place])
        np.testing.assert_allclose(gradient, expected, atol=tolerance)
        assert np.any(expected)


@pytest.mark.parametrize(("weight", "entropy_weight", "noises"), [(10, 0.5, 2), (3, 2, 4)])
def test_consistency(model, weight, entropy_weight, noises):
    _restart(model)
    drawn = _noises(model, noises)

    def statement(weights, image, label, index):
        latent = _encode(weights, image)
        return statements.consistency(
            _head(weights), latent, label, drawn[index], weight, entropy_weight
        )

    _check(model, training.Consistency(weight, entropy_weight, noises), statement)


@pytest.mark.parametrize(("margin", "inverse_temperature"), [(8.0, 2.0), (0.5, 1.0)])
def test_macer(model, margin, inverse_temperature):
    _restart(model)
    drawn = _noises(model, 6)

    def statement(weights, image, label, index):
        return statements.macer(
            _head(weights),
            _encode(weights, image),
            label,
            drawn[index],
            SIGMA,
            12.0,
            margin,
            inverse_temperature,
        )

    _check(model, training.MACER(12.0, margin, inverse_temperature, 6), statement)


def test_smooth_adv(model):
    _restart(model)
    drawn = _noises(model, 3)
    weights = _weights(model)
    changes = [
        statements.smooth_adv_change(_head(weights), _encode(weights, image), label, noises, 0.4, 3)
        for image, label, noises in zip(IMAGES, LABELS, drawn, strict=True)
    ]

    def statement(weights, image, label, index):
        return statements.smooth_adv(
            _head(weights), _encode(weights, image), label, drawn[index], changes[index]
        )

    _check(model, training.SmoothAdv(0.4, 3, 3), statement, tolerance=1e-5)


def test_catrs(model):
    _restart(model)
    drawn = _noises(model, 3)
    uniform = scipy.stats.norm.cdf(_noise(model, 3, 5))
    weights = _weights(model)
    # Confident in the first three, wrong in others.
    labels = np.array(model.predict(IMAGES, verbose=0)).argmax(axis=1)
    labels[3:] = (labels[3:] + 1) % 3
    numbers, targets, changes = [], [], []
    for index, (image, label) in enumerate(zip(IMAGES, labels, strict=True)):
        head, latent = _head(weights), _encode(weights, image)
        right = [np.argmax(head(latent + noise)) == label for noise in drawn[index]]
        numbers.append(max(1, np.sum(uniform[:, index] < np.mean(right))))
        targets.append(statements.catrs_target(head, latent, drawn[index]))
        changes.append(statements.catrs_changes(head, latent, drawn[index], 0.4, 3))
    # Both sides of the objective take part.
    assert 3 in numbers and min(numbers) < 3

    def statement(weights, image, label, index):
        return statements.catrs(
            _head(weights),
            _encode(weights, image),
            label,
            drawn[index],
            2.0,
            numbers[index],
            targets[index],
            changes[index],
        )

    _check(model, training.CATRS(2.0, 0.4, 3, 3), statement, tolerance=1e-5, labels=labels)
