"""The box-constrained L-BFGS attack."""

import numpy as np
import scipy.optimize
import tensorflow as tf

from lsrs_tf.attacks.found import Found
from lsrs_tf.attacks.objective import Objective
from lsrs_tf.attacks.search import Attack

_SEARCHES = 15
_FIRST_WEIGHT = 1.0
# The ratio of weights at which their search ends.
_ENOUGH = 1.05


class LBFGS(Attack):
    """Minimizes the weighted squared distance plus the cross-entropy within the box.

    Szegedy et al., "Intriguing Properties of Neural Networks" (2014), section 4.1, by the L-BFGS-B
    of SciPy: c |x' - x|^2 + loss(x') over pixels in [0, 1], the weight c by a search for the
    largest one that succeeds. The loss is the cross-entropy to the target, or untargeted that
    to all other classes together, -log(1 - p). It takes one image at a time, on the processor.

    Args:
        steps: int, iterations at most for each of at most 15 weights, 50 by default.
    """

    name = "lbfgs"
    default_steps = 50

    def compiled(self, scores, targeted):
        """Returns the search as a function of tensors; see `Attack.compiled`."""

        @tf.function(autograph=False, reduce_retracing=True)
        def evaluate(points, classes, draws):
            objective = Objective(lambda images: scores(images, draws), classes, targeted)

            def loss(values):
                return tf.math.softplus(objective.smooth_margins(values))

            return objective.gradients(points, loss)

        def search(images, classes, starts, radii, draws):
            rows = [
                _one_image(
                    lambda points, row=row: evaluate(
                        points,
                        classes[row : row + 1],
                        None if draws is None else draws[row : row + 1],
                    ),
                    images[row : row + 1],
                    starts[row : row + 1],
                    self.steps,
                )
                for row in range(len(images))
            ]
            return Found(*(tf.concat(parts, axis=0) for parts in zip(*rows, strict=True)))

        return search


def _one_image(evaluate, image, start, steps):
    """Returns the `Found` of one image [1, ...]."""
    found = Found.nothing(image)
    shape, original = image.shape, image.numpy().ravel()
    lower, upper, weight = 0.0, np.inf, _FIRST_WEIGHT
    for _ in range(_SEARCHES):

        def weighted(flat, weight=weight):
            nonlocal found
            points = tf.constant(flat.reshape(shape))
            margins, losses, gradients, finite = evaluate(points)
            found = found.with_points(image, points, margins, finite)
            if not finite.numpy()[0]:
                raise FloatingPointError
            change = flat - original
            value = weight * change @ change + losses.numpy()[0]
            return value, 2 * weight * change + gradients.numpy().ravel()

        try:
            minimum = scipy.optimize.minimize(
                weighted,
                start.numpy().ravel(),
                jac=True,
                method="L-BFGS-B",
                bounds=scipy.optimize.Bounds(0.0, 1.0),
                options={"maxiter": steps},
            )
            # At the minimum: trial points on the way there are too far.
            margins, _, _, _ = evaluate(tf.constant(minimum.x.reshape(shape)))
        except FloatingPointError:
            break
        succeeded = bool(margins.numpy()[0] < 0)
        lower, upper = (weight, upper) if succeeded else (lower, weight)
        if upper < _ENOUGH * lower:
            break
        if np.isinf(upper):
            weight *= 10
        else:
            weight = (lower * upper) ** 0.5 if lower > 0 else weight / 10
    return found
