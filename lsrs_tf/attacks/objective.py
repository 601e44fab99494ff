"""What attacks descend: margins between the scores of classes, with their gradients."""

import tensorflow as tf

from lsrs_tf.attacks.gradient_gaps import refuse_without_gradient


class Objective:
    """The margins that an attack has to bring below 0. It is used in graphs.

    Untargeted, the margin is the score of the true class less the largest other one; targeted, the
    largest other score less that of the target. Scores are logits, or logarithms of probabilities.

    Args:
        scores: function from images, float64 [images, height, width, channels], to scores float64
            [images, classes].
        classes: int64 tensor [images], the true classes, or the targets.
        targeted: bool.

    Attributes:
        scores, classes, targeted: the arguments.
    """

    def __init__(self, scores, classes, targeted):
        self.scores, self.classes, self.targeted = scores, classes, targeted

    def margins(self, scores):
        """Returns the margins [images] of scores [images, classes]."""
        own, others = self._parts(scores)
        return self._signed(own - tf.reduce_max(others, axis=-1))

    def smooth_margins(self, scores):
        """Returns margins against the log-sum-exp of the other scores, not the largest of them.

        Of logits that is the logit of the class's softmax probability p, log(p / (1 - p)). It grows
        with p as the cross-entropy falls, so that both have the same normalized gradient; only the
        cross-entropy loses it where p rounds to 1.
        """
        own, others = self._parts(scores)
        return self._signed(own - tf.reduce_logsumexp(others, axis=-1))

    def gradients(self, images, loss):
        """Returns margins, and gradients of a loss, at images.

        Args:
            images: float64 tensor [images, height, width, channels].
            loss: function from scores [images, classes] to losses [images], one of the methods.

        Returns:
            (margins [images], losses [images], gradients like the images, finite bool [images]).
            Where scores or gradients are not finite, `finite` is False and the gradient is 0.
        """
        with tf.GradientTape() as tape:
            tape.watch(images)
            scores = self.scores(images)
            losses = loss(scores)
        gradients = tape.gradient(losses, images)
        if gradients is None:
            refuse_without_gradient(self.scores, images.shape[1:])
        finite = tf.reduce_all(tf.math.is_finite(scores), axis=-1) & tf.reduce_all(
            tf.math.is_finite(gradients), axis=[1, 2, 3]
        )
        gradients = tf.where(finite[:, None, None, None], gradients, tf.zeros_like(gradients))
        return self.margins(scores), losses, gradients, finite

    def _parts(self, scores):
        """Returns the scores of the classes, and all scores with those set to minus infinity."""
        chosen = tf.one_hot(self.classes, scores.shape[-1], on_value=True, off_value=False)
        own = tf.gather(scores, self.classes, batch_dims=1)
        lowest = tf.fill(tf.shape(scores), tf.constant(float("-inf"), scores.dtype))
        return own, tf.where(chosen, lowest, scores)

    def _signed(self, values):
        return -values if self.targeted else values
