"""Gradients of the margins of a classifier at random points around an image."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lsrs_tf.sampling.random_streams import standard_normal, stream

# In the place of the purposes of noise, none of which has this number.
_BALL = 64
# How far logits may move with what else is in the batch, relative to the largest. It is generous:
# half precision stays within it, and layers that mix rows do not.
_TOLERANCE = 2.0**-4


def image_shape_of(model: keras.Model) -> tuple[int, ...]:
    """Returns the shape of one image of a classifier, or raises if the model does not tell."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a keras.Model from images to logits [batch, classes]. Received: "
            f"{type(model).__name__}"
        )
    shape = getattr(model, "input_shape", None) if model.built else None
    if not isinstance(shape, tuple) and model.built:
        shape = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, tuple | list) or len(shape) < 2 or None in shape[1:]:
        raise ValueError(
            "`model` must be built for one input of images of one size, the batch first. Received: "
            f"{type(model).__name__} '{model.name}' with the input shape {shape}. Begin it with a "
            "keras.Input of that size, or call it on an image first."
        )
    return tuple(map(int, shape[1:]))


def points_in_ball(key: tf.Tensor, first: Any, count: Any, shape: Sequence[int]) -> tf.Tensor:
    """Returns points `first` to `first + count - 1` of a stream, uniform in the L2 unit ball.

    The first d coordinates of a uniform point of the unit sphere in d + 2 dimensions are uniform in
    the unit ball in d dimensions (Archimedes for d = 1; Harman and Lacko 2010 in general).

    Args:
        key: uint64 tensor [3], see `lsrs_tf.sampling.random_streams.stream`.
        first: int64 scalar tensor or int.
        count: int64 scalar tensor or int.
        shape: static shape of one point.

    Returns:
        float32 tensor [count, *shape].
    """
    size = int(np.prod(shape))
    normal = standard_normal(key, first, count, (size + 2,))
    points = normal[:, :size] / tf.norm(normal, axis=1, keepdims=True)
    return tf.reshape(points, [count, *shape])


class MarginGradients:
    """The norms of the gradients of f_A - f_j, at points of a ball around images.

    f are the logits of a model in inference, and A is the class of the image at the center.

    Args:
        model: built `keras.Model` from images to logits [batch, classes].
        radius: float above 0, of the ball, in the L2 norm.
        seed: int, seed of the points.

    Attributes:
        image_shape: tuple, the shape of one image.
        num_classes: int.

    Raises:
        ValueError: if the model does not tell the shape of its images, or does not give logits
            [batch, classes] of at least two classes.
    """

    def __init__(self, model: keras.Model, radius: float, seed: int) -> None:
        self.image_shape = image_shape_of(model)
        self._model = model
        self._radius = radius
        self._seed = seed
        image = tf.TensorSpec(self.image_shape, tf.float32)
        scalar = tf.TensorSpec([], tf.int64)
        images = tf.TensorSpec([None, *self.image_shape], tf.float32)
        logits = tf.function(self._logits, autograph=False).get_concrete_function(images)
        shape = logits.structured_outputs.shape
        if shape.rank != 2 or shape[1] is None or shape[1] < 2:
            raise ValueError(
                "`model` must give logits [batch, classes] of at least two classes. Received: "
                f"outputs of shape {tuple(shape)}. For two classes behind one output f, give the "
                "logits (f, -f) or (f, 0)."
            )
        self.num_classes = int(shape[1])
        self._logits_of = logits
        self._norms = tf.function(self._norms_at, autograph=False).get_concrete_function(
            image, scalar, tf.TensorSpec([3], tf.uint64), scalar, scalar
        )

    def logits(self, image: NDArray[np.float32], index: int) -> NDArray[np.float64]:
        """Returns the logits of an image, or raises if they cannot be worked with.

        Args:
            image: float32 array.
            index: int, the place of the image, for the message.

        Returns:
            float64 array [classes].

        Raises:
            ValueError: if they are not finite, or depend on what else is in the batch.
        """
        logits = self._logits_of(tf.constant(image[np.newaxis])).numpy()[0].astype(np.float64)
        if not np.all(np.isfinite(logits)):
            raise ValueError(
                f"The logits of image {index} are not finite, so that there is no margin to speak "
                f"of. Received: {logits}"
            )
        others = np.stack([image, 1 - image, np.zeros_like(image)])
        of_others = self._logits_of(tf.constant(others)).numpy().astype(np.float64)
        among_others = of_others[0]
        size = max(np.max(np.abs(logits)), np.max(np.abs(of_others)))
        if not np.max(np.abs(among_others - logits)) <= _TOLERANCE * size:
            raise ValueError(
                f"The logits of image {index} change with what else is in the batch, or from one "
                "call to the next, so that they have no gradient of their own. Use a model whose "
                "rows are independent, and which draws nothing at random, with training=False. "
                f"Received: {logits} alone, and {among_others} among others."
            )
        return logits

    def norms(
        self, image: NDArray[np.float32], label: int, count: int, batch_size: int
    ) -> Iterator[NDArray[np.float64]]:
        """Yields the norms at the first points of an image's stream, pass by pass.

        Args:
            image: float32 array with pixels of at least 0.
            label: int, the class A.
            count: int, points in all.
            batch_size: int, points in one pass. It does not decide which points there are.

        Yields:
            float64 arrays [points of the pass, classes], 0 for the class A itself.
        """
        center = tf.constant(image)
        key = stream(self._seed, center, _BALL)
        for first in range(0, count, batch_size):
            points = min(batch_size, count - first)
            norms = self._norms(center, _scalar(label), key, _scalar(first), _scalar(points))
            yield norms.numpy()

    def _logits(self, images: tf.Tensor) -> tf.Tensor:
        outputs = self._model(images, training=False)
        if not tf.is_tensor(outputs):
            raise ValueError(
                "`model` must have one output, the logits [batch, classes]. Received: "
                f"{type(outputs).__name__}"
            )
        return tf.cast(outputs, tf.float32)

    def _norms_at(self, image, label, key, first, count):
        points = image + self._radius * points_in_ball(key, first, count, self.image_shape)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(points)
            logits = self._logits(points)
            margins = tf.gather(logits, [label], axis=1) - logits
        norms = tf.TensorArray(tf.float64, self.num_classes)

        def one_class(index, norms):
            # One forward pass for all classes, and one gradient in memory at a time.
            chosen = tf.one_hot(tf.fill([count], index), self.num_classes)
            gradients = tape.gradient(
                margins,
                points,
                output_gradients=chosen,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            flat = tf.cast(tf.reshape(gradients, [count, -1]), tf.float64)
            # float64, so that squares neither overflow nor vanish.
            return index + 1, norms.write(index, tf.norm(flat, axis=1))

        _, norms = tf.while_loop(
            lambda index, _: index < self.num_classes, one_class, (0, norms), parallel_iterations=1
        )
        return tf.transpose(norms.stack())


def _scalar(value: int) -> tf.Tensor:
    return tf.constant(value, tf.int64)
