"""Projected gradient descent within a radius."""

from lsrs_tf.attacks.found import Found
from lsrs_tf.attacks.search import Attack
from lsrs_tf.attacks.vectors import boxed, columns, normalized, shortened

# Steps together may go so many times as far as the radius.
_LENGTH = 2.5


class PGD(Attack):
    """Looks for an adversarial image within an L2 radius.

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (2018), equation
    2.1 and section 4, in the L2 norm: steps along the normalized gradient of the cross-entropy,
    each followed by the projection to the ball and to pixels in [0, 1].

    Args:
        steps: int, 40 by default.
    """

    name = "pgd"
    default_steps = 40
    needs_radius = True

    def search(self, objective, images, starts, radii):
        """Searches within the radii; see `Attack.search`."""
        sizes = _LENGTH * radii / self.steps

        def step(_, state):
            points, found = state
            margins, _, gradients, finite = objective.gradients(points, objective.smooth_margins)
            found = found.with_points(images, points, margins, finite)
            moved = points - columns(sizes, points) * normalized(gradients)
            return boxed(images + shortened(moved - images, radii)), found

        begin = boxed(images + shortened(starts - images, radii))
        points, found = self.loop(step, (begin, Found.nothing(images)))
        margins, _, _, finite = objective.gradients(points, objective.smooth_margins)
        return found.with_points(images, points, margins, finite)
