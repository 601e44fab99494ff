"""Fast minimum-norm attack."""

import tensorflow as tf

from lsrs_tf.attacks.found import Found
from lsrs_tf.attacks.search import Attack
from lsrs_tf.attacks.vectors import boxed, cosine, normalized, norms, shortened

_FIRST_STEP, _LAST_STEP = 1.0, 0.01
_FIRST_GAMMA, _LAST_GAMMA = 0.05, 0.001


class FMN(Attack):
    """Looks for the nearest adversarial image in a ball whose radius follows the margin.

    Pintor et al., "Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints" (2021),
    algorithm 1 with p = 2. Until the first success the radius is |d| + |margin| / |gradient|, the
    distance to the boundary of the linearized margin; then it shrinks where the image is
    adversarial and grows where not, by a factor that falls from 5 % to .1 %. The perturbation d is
    shortened to it by a factor of at most 1.

    Args:
        steps: int, 100 by default.
    """

    name = "fmn"

    def search(self, objective, images, starts, radii):
        """Searches the nearest adversarial images; see `Attack.search`."""

        def step(number, state):
            points, lengths, found = state
            margins, _, gradients, finite = objective.gradients(points, objective.margins)
            never = tf.math.is_inf(found.norms)
            found = found.with_points(images, points, margins, finite)
            gamma = cosine(_FIRST_GAMMA, _LAST_GAMMA, number, self.steps)
            slopes = norms(gradients)
            guessed = norms(points - images) + tf.abs(margins) / slopes
            guessed = tf.where(slopes > 0, guessed, lengths)
            lengths = tf.where(
                margins < 0,
                tf.minimum(lengths * (1 - gamma), found.norms),
                tf.where(never, guessed, lengths * (1 + gamma)),
            )
            size = cosine(_FIRST_STEP, _LAST_STEP, number, self.steps)
            moved = points - size * normalized(gradients)
            return boxed(images + shortened(moved - images, lengths)), lengths, found

        begin = (starts, Found.nothing(images).norms, Found.nothing(images))
        points, _, found = self.loop(step, begin)
        margins, _, _, finite = objective.gradients(points, objective.margins)
        return found.with_points(images, points, margins, finite)
