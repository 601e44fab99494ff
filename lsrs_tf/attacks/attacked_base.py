"""The base classifier, as attacks see it."""

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.attacks.line_search import Segment
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.models.freezing import freeze_encoder
from lsrs_tf.models.latent_smoothing import smoothed_parts
from lsrs_tf.statistics.margin_scale import largest

# Points beyond a candidate that are tried as well: scores of many images in a batch, in float64,
# may differ in the last bits from the answer for one of them, in float32.
_SHARES = (1.0, 1.001, 1.01, 1.1, 1.3)
_EVALUATIONS, _TOLERANCE = 40, 1e-5


class AttackedBase:
    """The base classifier: its scores with gradients, and its answers as they are certified.

    Where encoder and head have bounds, it is the `BaseClassifier` that `method='margin'` certifies:
    one frozen network of float64. Where the head has none, nothing is certified of it without
    noise; then answers are those of the frozen float64 encoder and the head as it is, as in the
    column `clean` of certification files. Every answer is that for an image alone.

    Args:
        model: built `LatentSmoothingModel`, or a `BaseClassifier`.

    Attributes:
        name: 'base'.
        image_shape: tuple, (height, width, channels).
        num_classes: int.
        batch_size: int, images that are attacked together by default.
    """

    name = "base"
    batch_size = 64

    def __init__(self, model):
        if isinstance(model, BaseClassifier):
            classifier = model
        else:
            smoothed_parts(model)
            try:
                classifier = BaseClassifier(model)
            except ValueError:
                classifier = None
        if classifier is not None:
            network, self.image_shape = classifier.network, classifier.image_shape
            self._logits = lambda images: network(images, training=False)
        else:
            self._logits, self.image_shape = _with_free_head(model)
        alone = tf.function(
            lambda image: self.scores(tf.cast(image, tf.float64)[tf.newaxis], None)[0],
            autograph=False,
        ).get_concrete_function(tf.TensorSpec(self.image_shape, tf.float32))
        self._alone = alone
        shape = tuple(alone.structured_outputs.shape)
        if len(shape) != 1 or shape[0] is None or shape[0] < 2:
            raise ValueError(
                "The head must map latents to logits [batch, classes] with at least two classes. "
                f"Received: logits of shape {shape} for one image."
            )
        (self.num_classes,) = shape

    def scores_of(self, images, again):
        """Returns the function of scores for a search, see `AttackedSmoothed.scores_of`."""
        return self.scores

    def scores(self, images, draws):
        """Returns the logits, float64 [images, classes]; used in graphs.

        Args:
            images: float64 tensor [images, height, width, channels].
            draws: None; the base classifier has no noise.
        """
        return tf.cast(self._logits(images), tf.float64)

    def draws(self, images, start):
        """Returns None: there is no noise."""

    def columns(self):
        """Returns what a row of a file of attacks says of the classifier, dict of str to value."""
        of_noise = ("sigma", "noise", "draws", "n", "alpha", "head_dtype")
        return {"classifier": self.name, **dict.fromkeys(of_noise)}

    def answer(self, image):
        """Returns the class of one float32 image, -1 for a tie or values that are not finite."""
        return largest(self._alone(tf.convert_to_tensor(image, tf.float32)).numpy())

    def nearest(self, image, candidate, goal, longest):
        """Tightens a candidate by bisection towards the image.

        Args:
            image: float32 array.
            candidate: float32 array like it.
            goal: `Goal`.
            longest: float, distance that is allowed.

        Returns:
            (image that reaches the goal, image with the answer of another class), float32 arrays
            that are the same here, or None where there is none.
        """
        segment = Segment(image, candidate, longest)

        def succeeds(point):
            return goal.changed(self.answer(point))

        ends = segment.first_success(succeeds, _SHARES)
        if ends is None:
            return None, None
        share = segment.bisected(succeeds, *ends, _EVALUATIONS, _TOLERANCE)
        return segment.point(share), segment.point(share)

    def depend_on_batch(self, images):
        """Returns which images have other logits together than alone, bool [images].

        Args:
            images: float32 array [images, height, width, channels].
        """
        together = self.scores(tf.constant(images, tf.float64), None).numpy()
        alone = np.stack([self._alone(tf.constant(image)).numpy() for image in images])
        return rows_differ(together, alone)


def rows_differ(together, alone, tolerance=1e-4):
    """Returns which rows differ by more than rounding; rows that are not finite do not differ."""
    together, alone = (values.reshape(len(values), -1) for values in (together, alone))
    size = np.abs(alone).max(axis=1) + np.abs(together).max(axis=1)
    return np.abs(together - alone).max(axis=1) > tolerance * size


def _with_free_head(model):
    """Returns (function from images float64 to logits, shape of an image)."""
    encoder, head = smoothed_parts(model)
    frozen: keras.Model = freeze_encoder(encoder)

    def logits(images):
        latents = frozen(images, training=False)
        return head(tf.cast(latents, tf.float32), training=False)

    return logits, tuple(frozen.inputs[0].shape[1:])
