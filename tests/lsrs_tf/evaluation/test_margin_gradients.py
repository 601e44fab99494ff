import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from lsrs_tf import models
from lsrs_tf.evaluation.margin_gradients import MarginGradients, image_shape_of, points_in_ball
from lsrs_tf.sampling.random_streams import stream


def _points(count, shape, first=0):
    key = stream(3, tf.zeros([1]), 64)
    return points_in_ball(key, tf.constant(first, tf.int64), count, shape).numpy()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (4, 4, 3), (32, 32, 3)])
def test_points_are_uniform_in_the_ball(shape):
    size = int(np.prod(shape))
    points = _points(2_000, shape).reshape(2_000, size).astype(np.float64)
    radii = np.linalg.norm(points, axis=1)
    assert radii.max() <= 1 + 1e-6
    # The volume within a radius r is r ** size.
    assert scipy.stats.kstest(radii**size, "uniform").pvalue > 0.01
    # By symmetry a coordinate squared is Beta(1/2, (size + 1) / 2), in all directions.
    beta = scipy.stats.beta(0.5, (size + 1) / 2)
    for direction in (np.eye(size)[0], np.full(size, size**-0.5)):
        along = points @ direction
        assert scipy.stats.kstest(along**2, beta.cdf).pvalue > 0.01
        assert scipy.stats.binomtest(int(np.sum(along > 0)), len(along)).pvalue > 0.01


def test_points_on_the_sphere_would_not_pass():
    # A negative control: Gaussian directions without the radial law.
    normal = np.random.default_rng(0).normal(size=(2_000, 2))
    radii = np.linalg.norm(normal / np.linalg.norm(normal, axis=1, keepdims=True), axis=1)
    assert scipy.stats.kstest(radii**2, "uniform").pvalue < 1e-6


def test_a_point_does_not_depend_on_what_is_drawn_with_it():
    np.testing.assert_array_equal(_points(10, (3, 2))[4:7], _points(3, (3, 2), first=4))


@pytest.mark.parametrize("parametrization", ["cayley", "aol"])
def test_norms_are_those_of_one_gradient_at_a_time(parametrization):
    model = models.convnet(width=4, num_classes=4, parametrization=parametrization)
    image = np.random.default_rng(0).uniform(size=(8, 8, 1)).astype(np.float32)
    gradients = MarginGradients(model, 0.5, seed=7)
    assert gradients.num_classes == 4
    found = np.concatenate(list(gradients.norms(image, 2, 5, batch_size=2)))
    offsets = points_in_ball(stream(7, tf.constant(image), 64), 0, 5, (8, 8, 1))
    for point, norms in zip(image + 0.5 * offsets.numpy(), found, strict=True):
        for j in range(4):
            point = tf.constant(point)
            with tf.GradientTape() as tape:
                tape.watch(point)
                logits = model(point[tf.newaxis], training=False)[0]
                margin = logits[2] - logits[j]
            expected = np.linalg.norm(tape.gradient(margin, point))
            assert norms[j] == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert not found[:, 2].any()


def test_tiny_gradients_do_not_vanish():
    inputs = keras.Input((1, 1, 1))
    dense = keras.layers.Dense(2)
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    dense.set_weights([np.array([[1e-25, 0]]), np.zeros(2)])
    (norms,) = MarginGradients(model, 1.0, 0).norms(np.ones((1, 1, 1), np.float32), 0, 3, 3)
    np.testing.assert_allclose(norms[:, 1], 1e-25, rtol=1e-5)


def test_shapes_of_models_that_are_no_graphs():
    model = models.convnet(width=4)
    assert image_shape_of(model) == (8, 8, 1)

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = model

        def call(self, inputs, training=False):
            return self.inner(inputs, training=training)

    own = Own()
    with pytest.raises(ValueError, match="keras.Input of that size"):
        image_shape_of(own)
    own(np.zeros((1, 8, 8, 1), np.float32))
    assert image_shape_of(own) == (8, 8, 1)
    with pytest.raises(ValueError, match="must be a keras.Model"):
        image_shape_of(lambda images: images)


def test_outputs_that_are_no_logits_are_refused():
    inputs = keras.Input((2, 2, 1))
    flat = keras.layers.Flatten()(inputs)
    one = keras.layers.Dense(1)(flat)
    with pytest.raises(ValueError, match=r"at least two classes.*\(f, 0\)"):
        MarginGradients(keras.Model(inputs, one), 1.0, 0)
    with pytest.raises(ValueError, match="classes"):
        MarginGradients(keras.Model(inputs, inputs), 1.0, 0)
    with pytest.raises(ValueError, match="one output"):
        MarginGradients(keras.Model(inputs, [flat, flat]), 1.0, 0)


@pytest.mark.parametrize("kind", ["mixes", "random"])
def test_rows_that_are_not_independent_are_refused(kind):
    class Faulty(keras.layers.Layer):
        def call(self, inputs):
            if kind == "mixes":
                return inputs - keras.ops.mean(inputs, axis=0, keepdims=True)
            return inputs + keras.random.normal(keras.ops.shape(inputs))

    inputs = keras.Input((2, 2, 1))
    gradients = MarginGradients(
        keras.Model(inputs, Faulty()(keras.layers.Flatten()(inputs))), 1.0, 0
    )
    with pytest.raises(ValueError, match="image 5 change with what else"):
        gradients.logits(np.random.default_rng(0).uniform(size=(2, 2, 1)).astype(np.float32), 5)
