"""Decoupled direction and norm."""

import tensorflow as tf

from lsrs_tf.attacks.found import Found
from lsrs_tf.attacks.search import Attack
from lsrs_tf.attacks.vectors import boxed, columns, cosine, normalized

_FIRST_STEP, _LAST_STEP = 1.0, 0.01
_FIRST_NORM, _GAMMA = 1.0, 0.05


class DDN(Attack):
    """Looks for the nearest adversarial image: the direction by gradients, the norm by success.

    Rony et al., "Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial Attacks
    and Defenses" (2019), algorithm 1. The norm shrinks by 5 % after each adversarial image and
    grows by 5 % after each other one; steps fall from 1 to .01. Pixels are not quantized.

    Args:
        steps: int, 100 by default.
    """

    name = "ddn"

    def search(self, objective, images, starts, radii):
        """Searches the nearest adversarial images; see `Attack.search`."""

        def step(number, state):
            points, lengths, found = state
            margins, _, gradients, finite = objective.gradients(points, objective.smooth_margins)
            found = found.with_points(images, points, margins, finite)
            size = cosine(_FIRST_STEP, _LAST_STEP, number, self.steps)
            direction = normalized(points - images - size * normalized(gradients))
            lengths = tf.where(margins < 0, (1 - _GAMMA) * lengths, (1 + _GAMMA) * lengths)
            return boxed(images + columns(lengths, points) * direction), lengths, found

        lengths = tf.fill(tf.shape(images)[:1], tf.constant(_FIRST_NORM, tf.float64))
        begin = (starts, lengths, Found.nothing(images))
        points, _, found = self.loop(step, begin)
        margins, _, _, finite = objective.gradients(points, objective.smooth_margins)
        return found.with_points(images, points, margins, finite)
