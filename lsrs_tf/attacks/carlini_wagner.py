"""The attack of Carlini and Wagner in the L2 norm."""

import tensorflow as tf

from lsrs_tf.attacks.found import Found
from lsrs_tf.attacks.search import Attack
from lsrs_tf.attacks.vectors import columns, norms

# Searches of the weight of the margin, each of `steps` steps of Adam.
_SEARCHES = 9
_FIRST_WEIGHT, _LARGEST_WEIGHT = 1.0, 1e10
_RATE, _DECAY, _SQUARED_DECAY, _EPSILON = 0.02, 0.9, 0.999, 1e-8
# Keeps the inverse of tanh finite.
_INSIDE = 1 - 1e-6


class CarliniWagner(Attack):
    """Minimizes the squared distance plus a weighted margin, in variables that keep the box.

    Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks" (2017), section VI.A:
    pixels are (tanh(w) + 1) / 2, and |x' - x|^2 + c max(margin, 0) is minimized over w by Adam. The
    weight c is searched by bisection, for the smallest one that succeeds.

    Args:
        steps: int, steps of Adam for each of 9 weights, 100 by default.
    """

    name = "carlini_wagner"

    def search(self, objective, images, starts, radii):
        """Searches the nearest adversarial images; see `Attack.search`."""
        begin = tf.atanh((2 * starts - 1) * _INSIDE)
        zeros = tf.zeros(tf.shape(images)[:1], tf.float64)

        def one_weight(_, state):
            found, weights, lower, upper = state
            before = found.norms
            found, succeeded = self._minimized(objective, images, begin, weights, found)
            succeeded |= found.norms < before
            upper = tf.where(succeeded, tf.minimum(upper, weights), upper)
            lower = tf.where(succeeded, lower, tf.maximum(lower, weights))
            bounded = tf.math.is_finite(upper)
            weights = tf.where(bounded, (lower + upper) / 2, 10 * weights)
            return found, tf.minimum(weights, _LARGEST_WEIGHT), lower, upper

        _, (found, _, _, _) = tf.while_loop(
            lambda number, _: number < _SEARCHES,
            lambda number, state: (number + 1, one_weight(number, state)),
            (
                tf.constant(0),
                (
                    Found.nothing(images),
                    zeros + _FIRST_WEIGHT,
                    zeros,
                    Found.nothing(images).norms,
                ),
            ),
            parallel_iterations=1,
        )
        return found

    def _minimized(self, objective, images, begin, weights, found):
        """Returns what Adam finds for weights [images], and where it met adversarial images."""

        def step(number, state):
            variables, mean, square, found, succeeded = state
            pixels = tf.tanh(variables)
            points = (pixels + 1) / 2
            margins, _, gradients, finite = objective.gradients(points, objective.margins)
            found = found.with_points(images, points, margins, finite)
            active = tf.where(margins > 0, weights, tf.zeros_like(weights))
            whole = 2 * (points - images) + columns(active, points) * gradients
            whole *= (1 - pixels * pixels) / 2
            mean = _DECAY * mean + (1 - _DECAY) * whole
            square = _SQUARED_DECAY * square + (1 - _SQUARED_DECAY) * whole * whole
            count = tf.cast(number + 1, tf.float64)
            root = tf.sqrt(square / (1 - _SQUARED_DECAY**count)) + _EPSILON
            variables -= _RATE * mean / (1 - _DECAY**count) / root
            return variables, mean, square, found, succeeded | (finite & (margins < 0))

        nothing = tf.zeros_like(begin)
        never = norms(begin) < 0
        state = self.loop(step, (begin, nothing, nothing, found, never))
        return state[3], state[4]
