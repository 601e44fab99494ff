"""The interface of an attack."""

import tensorflow as tf

from lsrs_tf.attacks.objective import Objective
from lsrs_tf.statistics.confidence import checked_count


class Attack:
    """One way to look for adversarial images.

    A subclass says `name`, `default_steps`, and how it searches a batch, in a graph.

    Args:
        steps: int, or None for the default of the method.

    Attributes:
        name: str.
        default_steps: int.
        needs_radius: bool, whether it searches within a radius, and not for the nearest image.
        start_norm: float, L2 norm of the random perturbation that later starts begin with.
        steps: int.
    """

    name = "attack"
    default_steps = 100
    needs_radius = False
    start_norm = 0.1

    def __init__(self, steps=None):
        self.steps = self.default_steps if steps is None else checked_count(steps, "steps")

    def search(self, objective, images, starts, radii):
        """Searches adversarial images.

        Args:
            objective: `Objective`.
            images: float64 tensor [images, height, width, channels], pixels in [0, 1].
            starts: tensor like the images, where the search begins.
            radii: float64 tensor [images], L2 radii; infinite for attacks without.

        Returns:
            `Found`.
        """
        raise NotImplementedError

    def compiled(self, scores, targeted):
        """Returns the search as a function of tensors.

        Args:
            scores: function (images, draws) that returns scores, see `AttackedBase.scores`.
            targeted: bool.

        Returns:
            Function (images, classes, starts, radii, draws) that returns `Found`.
        """

        # Any number of images, so that the last and smaller batch is not traced anew.
        @tf.function(autograph=False, reduce_retracing=True)
        def search(images, classes, starts, radii, draws):
            objective = Objective(lambda points: scores(points, draws), classes, targeted)
            return self.search(objective, images, starts, radii)

        return search

    def loop(self, step, state):
        """Runs `step(number, state)`, which returns the next state, so many times."""
        _, state = tf.while_loop(
            lambda number, _: number < self.steps,
            lambda number, state: (number + 1, step(number, state)),
            (tf.constant(0), state),
            parallel_iterations=1,
        )
        return state
