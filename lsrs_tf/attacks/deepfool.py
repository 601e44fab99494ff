"""DeepFool."""

import tensorflow as tf

from lsrs_tf.attacks.found import Found
from lsrs_tf.attacks.search import Attack
from lsrs_tf.attacks.vectors import boxed, choose, columns, norms

# Steps go a little too far, so that they cross the boundary.
_OVERSHOOT = 0.02
# Classes whose boundaries are looked at, those of the largest scores.
_CANDIDATES = 10


class DeepFool(Attack):
    """Goes to the nearest boundary of the linearized classifier, until the class changes.

    Moosavi-Dezfooli et al., "DeepFool: A Simple and Accurate Method to Fool Deep Neural Networks"
    (2016), algorithm 2: with w_j the gradient of f_j - f_A, each step adds |f_j - f_A| / |w_j|^2
    times w_j for the class j with the smallest |f_j - f_A| / |w_j|. Targeted, it goes to the
    boundary between the target and the largest other class.

    Args:
        steps: int, 50 by default.
    """

    name = "deepfool"
    default_steps = 50

    def search(self, objective, images, starts, radii):
        """Searches the nearest adversarial images; see `Attack.search`."""
        move = _to_largest_other if objective.targeted else _to_nearest

        def step(_, state):
            points, found = state
            margins, moves, finite = move(objective, points)
            found = found.with_points(images, points, margins, finite)
            moved = boxed(points + (1 + _OVERSHOOT) * moves)
            return choose(finite & (margins >= 0), moved, points), found

        points, found = self.loop(step, (starts, Found.nothing(images)))
        margins, _, finite = move(objective, points)
        return found.with_points(images, points, margins, finite)


def _to_largest_other(objective, points):
    """Returns margins, the move to the boundary of the linearized margin, and what is finite."""
    margins, _, gradients, finite = objective.gradients(points, objective.margins)
    return margins, -columns(_factors(margins, norms(gradients)), points) * gradients, finite


def _to_nearest(objective, points):
    """Returns margins, the move to the nearest boundary of all classes, and what is finite."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(points)
        scores = objective.scores(points)
        own = tf.gather(scores, objective.classes, batch_dims=1)
        differences = own[:, tf.newaxis] - scores
    count = min(_CANDIDATES, scores.shape[-1])
    _, candidates = tf.math.top_k(scores, count)
    infinite = tf.fill(tf.shape(own), tf.constant(float("inf"), tf.float64))

    def one_class(place, state):
        nearest, moves, finite = state
        chosen = candidates[:, place]
        weights = tf.one_hot(chosen, scores.shape[-1], dtype=scores.dtype)
        gradients = tape.gradient(
            differences,
            points,
            output_gradients=weights,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        finite &= tf.reduce_all(tf.math.is_finite(gradients), axis=[1, 2, 3])
        margins = tf.gather(differences, chosen, batch_dims=1)
        slopes = norms(gradients)
        other = tf.cast(chosen, tf.int64) != objective.classes
        distances = tf.where(other & (slopes > 0), tf.abs(margins) / slopes, infinite)
        nearer = distances < nearest
        move = -columns(_factors(margins, slopes), points) * gradients
        return tf.minimum(nearest, distances), choose(nearer, move, moves), finite

    finite = tf.reduce_all(tf.math.is_finite(scores), axis=-1)
    _, (_, moves, finite) = tf.while_loop(
        lambda place, _: place < count,
        lambda place, state: (place + 1, one_class(place, state)),
        (tf.constant(0), (infinite, tf.zeros_like(points), finite)),
        parallel_iterations=1,
    )
    return objective.margins(scores), choose(finite, moves, tf.zeros_like(moves)), finite


def _factors(margins, slopes):
    """Returns what gradients of these norms are multiplied by to take margins to just below 0."""
    return tf.math.divide_no_nan(tf.abs(margins) + 1e-6, slopes * slopes)
