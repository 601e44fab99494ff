"""The functions that serve certificates by margins, of a base classifier.

Rows of a batch are evaluated together, in the groups in which Python evaluates them, so that the
answers are those of `lsrs_tf.certify(..., method="margin")` to the last bit, whatever the batch.
They are proofs: there are no samples, and no alpha.
"""

import tensorflow as tf

from export import graph_margins
from export.signatures import Answer, Endpoints
from lsrs_tf.models.base_classifier import BaseClassifier


class MarginSignatures:
    """The served functions of one base classifier.

    Args:
        classifier: `BaseClassifier`.
    """

    def __init__(self, classifier: BaseClassifier) -> None:
        self._classifier = classifier

    def endpoints(self) -> Endpoints:
        """Returns what goes with other signatures, dict of name to (function, inputs)."""
        return {"certify_margin": (self.certify_margin, self._inputs())}

    def endpoints_alone(self) -> Endpoints:
        """Returns all that is served where nothing is smoothed."""
        return {
            **self.endpoints(),
            "serving_default": (self.certify_margin, self._inputs()),
            "predict_clean": (self.predict_clean, self._inputs()),
        }

    def certify_margin(self, images: tf.Tensor) -> Answer:
        """Certifies images by the margins of their logits.

        Args:
            images: float32 tensor [batch, height, width, channels] in [0, 1].

        Returns:
            dict of `label` int64 [batch], -1 for abstention and for rows with a pixel that is NaN
            or outside [0, 1]; `radius` float32 [batch], L2 radius in units of pixels, rounded
            down, 0 for abstention; `margin` float64 [batch], the logit of the label less that of
            the class that limits the radius, 0 for abstention.
        """
        valid, logits = self._logits(images)
        answers = graph_margins.proven(logits, self._classifier.margin_scale)
        label, radius, margin = (
            tf.where(valid, answer, refused)
            for answer, refused in zip(answers, (-1, 0.0, 0.0), strict=True)
        )
        return {"label": label, "radius": radius, "margin": margin}

    def predict_clean(self, images: tf.Tensor) -> Answer:
        """Returns class and logits of the base classifier; no certificate.

        Returns:
            dict of `label` int64 [batch], -1 where a pixel is NaN or outside [0, 1], and where the
            largest logit is tied or one is not finite; `logits` float32 [batch, classes], 0 for
            bad pixels.
        """
        valid, logits = self._logits(images)
        label = tf.where(valid, graph_margins.largest_logits(logits), -1)
        shown = tf.where(valid[:, tf.newaxis], tf.cast(logits, tf.float32), 0.0)
        return {"label": label, "logits": shown}

    def _inputs(self) -> list[tf.TensorSpec]:
        return [tf.TensorSpec([None, *self._classifier.image_shape], tf.float32, name="images")]

    def _logits(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns (whether a row is valid, float64 logits), which are any where it is not."""
        images = tf.ensure_shape(images, [None, *self._classifier.image_shape])
        # Comparisons with NaN are false.
        valid = tf.reduce_all((images >= 0) & (images <= 1), axis=[1, 2, 3])
        images = tf.where(valid[:, tf.newaxis, tf.newaxis, tf.newaxis], images, 0.0)
        return valid, self._classifier.logits_in_graph(images)
