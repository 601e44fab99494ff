import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, models
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.models.row_groups import ROWS, evaluated_in_groups, rows_together

SHAPE = (8, 8, 1)


def _base_classifier(encoder_layers, head_layers):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input(SHAPE), *encoder_layers])
    head = keras.Sequential([keras.Input(encoder.output_shape[1:]), *head_layers])
    return BaseClassifier(models.LatentSmoothingModel(encoder, head, 0.0))


def _convolutional(parametrization):
    convolution = layers.convolution(parametrization)
    return (
        [convolution(4, 3), layers.GroupSort(2), convolution(16, 3, strides=2)],
        [layers.GroupSort(2), keras.layers.Flatten(), layers.OrthogonalDense(32)],
    )


NETWORKS = {
    "dense": lambda: ([keras.layers.Flatten()], [keras.layers.Dense(37, activation="relu")]),
    "conv": lambda: (
        [keras.layers.Conv2D(8, 3, padding="same"), layers.GroupSort(2)],
        [keras.layers.Conv2D(12, 3, strides=2), keras.layers.Flatten()],
    ),
    "cayley": lambda: _convolutional("cayley"),
    "sll": lambda: _convolutional("sll"),
}


@pytest.mark.parametrize(
    ("name", "by_columns"),
    [*((name, False) for name in NETWORKS), ("cayley", True), ("sll", True)],
)
def test_logits_are_the_same_in_every_batch_to_the_last_bit(name, by_columns, monkeypatch):
    if by_columns:
        monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    encoder, head = NETWORKS[name]()
    classifier = _base_classifier(encoder, [*head, keras.layers.Dense(5)])
    assert classifier.rows_together == ROWS
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(64, *SHAPE)).astype(np.float32)
    alone = np.stack([classifier.logits(image) for image in images])
    assert alone.dtype == np.float64 and len(np.unique(alone)) == alone.size
    for size in [*range(1, 18), 31, 32, 33, 64]:
        order = rng.permutation(64)[:size]
        np.testing.assert_array_equal(classifier.batch_logits(images[order]), alone[order])
    strange = images[:4].copy()
    strange[:3] = [[[[np.nan]]], [[[np.inf]]], [[[3e38]]]]
    np.testing.assert_array_equal(classifier.batch_logits(strange)[3], alone[3])
    assert classifier.batch_logits(images[:0]).shape == (0, 5)


def _rows_together(change):
    weights = tf.random.stateless_normal([64, 3], seed=[0, 0], dtype=tf.float64)

    def evaluate(images):
        logits = tf.reshape(tf.cast(images, tf.float64), [-1, 64]) @ weights
        return logits + change(logits)

    return rows_together(evaluate, SHAPE)


def test_what_depends_on_place_or_neighbours_is_evaluated_one_by_one():
    assert _rows_together(tf.zeros_like) == ROWS

    def by_place(logits):
        places = tf.range(tf.shape(logits)[0])[:, tf.newaxis]
        return 1e-15 * logits * tf.cast(places == 2, tf.float64)

    assert _rows_together(by_place) == 1
    assert _rows_together(lambda logits: 1e-14 * tf.reduce_sum(logits)) == 1


def test_groups_are_filled_up_and_put_together():
    seen = []

    def evaluate(images):
        seen.append(images.shape)
        return tf.cast(tf.reduce_sum(images, [1, 2]), tf.float64)

    images = tf.reshape(tf.range(6 * 64, dtype=tf.float32), [6, *SHAPE])
    for rows in (1, 4):
        found = tf.function(evaluated_in_groups)(evaluate, images, rows, 1)
        np.testing.assert_array_equal(found, tf.reduce_sum(images, [1, 2]))
    assert [tuple(shape) for shape in seen] == [(1, *SHAPE), (4, *SHAPE)]
