import keras
import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from lsrs_tf import layers, models
from lsrs_tf.attacks.attacked_smoothed import AttackedSmoothed
from lsrs_tf.attacks.goal import Goal
from lsrs_tf.attacks.vote_search import VoteSearch
from tests.lsrs_tf.attacks.victims import gray_images, linear_model
from tests.simulated import threshold_model

N = 400


def _attack(model, images, labels, **options):
    return lsrs_tf.attack(
        model, images, labels, classifier="smoothed", n=N, verbose=0, **{"steps": 40, **options}
    )


@pytest.mark.parametrize("method", ["ddn", "fmn"])
def test_the_boundary_of_a_smoothed_threshold_is_found(method):
    # The smoothed classifier of a threshold is that threshold; a narrow softmax is a vote.
    model = threshold_model(0.5, 0.1)
    model.head.layers[-1].kernel.assign(1e3 * model.head.layers[-1].kernel)
    model.head.layers[-1].bias.assign(1e3 * model.head.layers[-1].bias)
    images = np.reshape([0.8, 0.3], (2, 1, 1, 1)).astype(np.float32)
    result = _attack(model, images, [1, 0], method=method)
    exact = np.array([0.3, 0.2])
    # It abstains before the boundary, and changes its class behind it.
    assert np.all((result.distances > exact - 0.03) & (result.distances < exact + 0.01))
    assert np.all(result.changed_distances > exact - 1e-6)
    assert np.all(result.changed_distances < exact + 0.07)


def test_what_is_found_is_what_predict_answers():
    model, weights, biases = linear_model()
    images = gray_images(4)
    labels = (images.reshape(4, -1) @ weights + biases).argmax(axis=1)
    result = _attack(model, images, labels, seed=3)
    answers = lsrs_tf.predict(model, result.images, n=N, seed=3, verbose=0)
    np.testing.assert_array_equal(answers, result.labels)
    assert np.all((answers != labels) & np.isfinite(result.distances))
    assert np.all(result.changed_distances >= result.distances)
    again = _attack(model, images, labels, seed=3)
    np.testing.assert_array_equal(again.images, result.images)


def test_an_attack_on_a_cast_head_is_on_what_is_certified_with_it():
    model, images = models.convnet(width=2), np.full((2, 8, 8, 1), 0.5, np.float32)
    labels = np.maximum(0, lsrs_tf.predict(model, images, n=N, verbose=0))
    result = _attack(model, images, labels, head_dtype="bfloat16", steps=5)
    assert result.head_dtype == "bfloat16"
    assert "smoothed classifier with a bfloat16 head" in repr(result)
    answers = lsrs_tf.predict(model, result.images, n=N, head_dtype="bfloat16", verbose=0)
    np.testing.assert_array_equal(answers, result.labels)
    with pytest.raises(ValueError, match="`head_dtype` belongs to classifier='smoothed'"):
        lsrs_tf.attack(model, images, labels, head_dtype="bfloat16", verbose=0)


def test_gradients_come_through_a_cast_head():
    model = models.convnet(width=4)
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype(np.float32)
    found = []
    for head_dtype in (None, "bfloat16"):
        attacked = AttackedSmoothed(model, draws=8, n=N, head_dtype=head_dtype)
        draws = attacked.draws(list(images), 0)
        points = tf.constant(images, tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(points)
            scores = tf.reduce_sum(attacked.scores(points, draws)[:, 0])
        found.append(tape.gradient(scores, points))
    own, cast = (np.ravel(gradient) for gradient in found)
    assert own @ cast > 0.99 * np.linalg.norm(own) * np.linalg.norm(cast)
    assert not np.array_equal(own, cast)


def _standardized():
    """A threshold whose image is standardized inside the branch of a convex residual."""
    branch = keras.Sequential(
        [keras.layers.Normalization(mean=0.4, variance=0.04), keras.layers.Identity()]
    )
    return keras.Sequential([keras.Input((1, 1, 1)), layers.ConvexResidual(branch)])


def _cancelling():
    """An identity through constants beside which float32 loses the image."""
    parts = [keras.layers.Dense(1, kernel_initializer="ones") for _ in range(2)]
    encoder = keras.Sequential([keras.Input((1, 1, 1)), *parts])
    for part, bias in zip(parts, (2.0**24, -(2.0**24)), strict=True):
        part.bias.assign([bias])
    return encoder


@pytest.mark.parametrize("make", [_standardized, _cancelling])
def test_the_search_follows_the_encoder_that_is_certified(make):
    encoder = make()
    head = threshold_model(0.5, 0.1).head
    model = models.LatentSmoothingModel(encoder, head, 0.25)
    attacked = AttackedSmoothed(model, draws=8, n=N)
    images = np.reshape([0.8, 0.3], (2, 1, 1, 1)).astype(np.float32)
    points, draws = tf.constant(images, tf.float64), attacked.draws(list(images), 0)
    found = attacked.scores_of(points, again=False)(points, draws)
    np.testing.assert_allclose(found, attacked.exact_scores(points, draws), atol=1e-3)
    exact = attacked.exact_scores
    assert (attacked.scores_of(points, again=False) == exact) == (make is _cancelling)
    assert attacked.scores_of(points, again=True) == exact


def test_targets_are_answers_and_not_abstentions():
    model, weights, biases = linear_model(num_classes=3)
    images = gray_images(2)
    labels = (images.reshape(2, -1) @ weights + biases).argmax(axis=1)
    targets = (labels + 1) % 3
    result = _attack(model, images, labels, targets=targets)
    np.testing.assert_array_equal(result.labels, targets)
    np.testing.assert_array_equal(result.changed_distances, result.distances)


def test_another_class_is_never_nearer_than_what_is_reached(monkeypatch):
    attacked = AttackedSmoothed(models.convnet(width=2), n=N)
    shares = iter([0.8, 0.5])
    monkeypatch.setattr(VoteSearch, "nearest", lambda *_: next(shares))
    image = np.zeros((8, 8, 1), np.float32)
    reached, changed = attacked.nearest(image, image + 1, Goal(0), np.inf)
    np.testing.assert_array_equal(reached, changed)
    np.testing.assert_array_equal(reached, image + 0.5)


def test_scores_are_mean_soft_votes_of_fixed_draws():
    model = models.convnet(width=2)
    attacked = AttackedSmoothed(model, draws=4, n=N)
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype(np.float32)
    draws = attacked.draws(list(images), 0)
    np.testing.assert_array_equal(draws, attacked.draws(list(images), 0))
    assert not np.array_equal(draws, attacked.draws(list(images), 1))
    scores = attacked.scores(images.astype(np.float64), draws).numpy()
    latents = model.encoder(images).numpy()
    logits = [model.head(latents + draws[:, i]).numpy() for i in range(4)]
    soft = np.mean([np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in logits], axis=0)
    np.testing.assert_allclose(np.exp(scores), soft, rtol=1e-4)
    assert not attacked.depend_on_batch(images).any()


def test_too_few_samples_are_refused():
    model, _, _ = linear_model()
    with pytest.raises(ValueError, match="n=10 samples"):
        lsrs_tf.attack(model, gray_images(1), [0], classifier="smoothed", n=10, verbose=0)
    with pytest.raises(ValueError, match="`sigma` belongs to"):
        lsrs_tf.attack(model, gray_images(1), [0], sigma=0.1, verbose=0)
