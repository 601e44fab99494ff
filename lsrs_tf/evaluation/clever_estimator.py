"""The CLEVER score of one image after the other."""

import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray

from lsrs_tf.certification.settings import checked_seed
from lsrs_tf.evaluation.extreme_values import SMALLEST_MAXIMA, fit_reverse_weibull
from lsrs_tf.evaluation.margin_gradients import MarginGradients
from lsrs_tf.number_kinds import is_real_number
from lsrs_tf.statistics.confidence import checked_count


@dataclasses.dataclass(frozen=True)
class ImageEstimate:
    """The CLEVER score of one image; the attributes are those of `CleverResult`, of one image."""

    estimate: float
    label: int
    margins: NDArray[np.float64]
    locations: NDArray[np.float64]
    largest_norms: NDArray[np.float64]
    p_values: NDArray[np.float64]
    fits: NDArray[np.str_]

    @property
    def fitted(self) -> bool:
        """Whether no location is a stand-in ('largest')."""
        return not np.any(self.fits == "largest")


class CleverEstimator:
    """Estimates one image after the other; arguments and errors are those of `clever`.

    Attributes:
        image_shape: tuple, (height, width, channels).
        num_classes: int.
        points: int, points of one image.
        radius, maxima, gradients_per_maximum, seed: as given, checked.
    """

    def __init__(
        self,
        model: keras.Model,
        radius: float,
        maxima: int,
        gradients_per_maximum: int,
        *,
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        self.radius = _checked_radius(radius)
        self.maxima = _checked_maxima(maxima)
        self.gradients_per_maximum = checked_count(gradients_per_maximum, "gradients_per_maximum")
        self.seed = int(checked_seed(seed))
        self._batch_size = checked_count(batch_size, "batch_size")
        self._gradients = MarginGradients(model, self.radius, self.seed)
        self.image_shape = self._gradients.image_shape
        self.num_classes = self._gradients.num_classes
        self.points = self.maxima * self.gradients_per_maximum

    def estimate(
        self,
        image: NDArray[np.float32],
        index: int = 0,
        finished: Callable[[int], object] = lambda points: None,
    ) -> ImageEstimate:
        """Estimates the distance of one checked image.

        Args:
            image: float32 array of `image_shape`.
            index: int, the place of the image, for messages.
            finished: function that is told how many points were finished.

        Returns:
            An `ImageEstimate`.
        """
        logits = self._gradients.logits(image, index)
        label = int(logits.argmax())
        margins = logits[label] - logits
        maxima = self._maxima_of_norms(image, label, index, finished)
        estimate = self.radius
        locations, p_values = (np.full(self.num_classes, math.nan) for _ in range(2))
        fits = np.full(self.num_classes, "", "<U8")
        largest = np.where(np.arange(self.num_classes) == label, math.nan, maxima.max(axis=0))
        for j in range(self.num_classes):
            if j == label:
                continue
            fit = fit_reverse_weibull(maxima[:, j])
            locations[j], p_values[j], fits[j] = fit.location, fit.p_value, fit.kind
            estimate = min(estimate, _quotient(margins[j], fit.location))
        return ImageEstimate(estimate, label, margins, locations, largest, p_values, fits)

    def _maxima_of_norms(
        self,
        image: NDArray[np.float32],
        label: int,
        index: int,
        finished: Callable[[int], object],
    ) -> NDArray[np.float64]:
        """Returns float64 [maxima, classes], the largest norms of gradients at random points."""
        found = np.zeros((self.maxima, self.num_classes))
        first = 0
        for norms in self._gradients.norms(image, label, self.points, self._batch_size):
            _refuse_infinite(norms, index, label)
            _raise_maxima(found, norms, first, self.gradients_per_maximum)
            first += len(norms)
            finished(len(norms))
        return found


def _checked_radius(radius: object) -> float:
    if not (is_real_number(radius) and math.isfinite(radius) and radius > 0):
        raise ValueError(
            "`radius` must be a number above 0, the L2 radius of the ball around an image, in "
            f"units of pixels in [0, 1]. Received: radius={radius!r}"
        )
    return float(radius)


def _checked_maxima(maxima: object) -> int:
    maxima = checked_count(maxima, "maxima")
    if maxima < SMALLEST_MAXIMA:
        raise ValueError(
            f"`maxima` must be at least {SMALLEST_MAXIMA}, because a law of three parameters is "
            f"fitted to them (500 is customary). Received: maxima={maxima!r}"
        )
    return maxima


def _refuse_infinite(norms: NDArray[np.float64], index: int, label: int) -> None:
    invalid = ~np.isfinite(norms)
    if invalid.any():
        j = int(np.argmax(invalid.any(axis=0)))
        raise ValueError(
            f"Gradients of the margin between the classes {label} and {j} are NaN or infinite near "
            f"image {index}, at {np.count_nonzero(invalid[:, j])} of {len(norms)} points. Points "
            "may have pixels outside [0, 1], where the model must work as well; roots and "
            "logarithms of 0 have no finite gradient, and half precision overflows soon."
        )


def _raise_maxima(
    found: NDArray[np.float64], norms: NDArray[np.float64], first: int, size: int
) -> None:
    """Takes the norms of points from `first` into maxima of so many points each, in place."""
    starts = np.arange(first // size, (first + len(norms) - 1) // size + 1)
    highest = np.maximum.reduceat(norms, np.maximum(starts * size - first, 0), axis=0)
    found[starts] = np.maximum(found[starts], highest)


def _quotient(margin: float, location: float) -> float:
    """Returns margin / location; without a gradient, nothing but a margin of 0 is ever reached."""
    if location > 0:
        return float(margin / location)
    return math.inf if margin > 0 else 0.0
