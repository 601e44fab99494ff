"""What an attack keeps of the images that it has passed."""

from typing import NamedTuple

import tensorflow as tf

from lsrs_tf.attacks.vectors import choose, norms


class Found(NamedTuple):
    """The nearest adversarial image so far, and the image that came nearest to being one.

    Attributes:
        images: tensor [images, height, width, channels], the nearest adversarial one.
        norms: tensor [images], its distance; infinite where there is none.
        lowest_images: tensor like the images, the one with the lowest margin.
        lowest: tensor [images], that margin.
        finite: bool tensor [images], whether all scores and gradients were finite.
    """

    images: tf.Tensor
    norms: tf.Tensor
    lowest_images: tf.Tensor
    lowest: tf.Tensor
    finite: tf.Tensor

    @classmethod
    def nothing(cls, originals):
        """Returns the state before the first step, for originals float64 [images, ...]."""
        infinite = tf.fill(tf.shape(originals)[:1], tf.constant(float("inf"), tf.float64))
        return cls(originals, infinite, originals, infinite, tf.math.is_inf(infinite))

    def with_points(self, originals, points, margins, finite):
        """Returns the state after having passed points.

        Args:
            originals: tensor [images, ...].
            points: tensor like the originals, with pixels in [0, 1].
            margins: tensor [images], below 0 where a point is adversarial.
            finite: bool tensor [images], whether margins and gradients were finite.
        """
        distances = norms(points - originals)
        nearer = finite & (margins < 0) & (distances < self.norms)
        lower = finite & (margins < self.lowest)
        return Found(
            choose(nearer, points, self.images),
            tf.where(nearer, distances, self.norms),
            choose(lower, points, self.lowest_images),
            tf.where(lower, margins, self.lowest),
            self.finite & finite,
        )
