"""The line search that tightens what an attack has found."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# Starts of a search in addition to those asked for, where scores or gradients were not finite.
MORE_STARTS = 2
Image = NDArray[np.float32]


def distance_of(image: Image, other: Image) -> float:
    """Returns the L2 distance of two float32 images, computed in float64."""
    return float(np.linalg.norm((other.astype(np.float64) - image.astype(np.float64)).ravel()))


class Segment:
    """The line from an image through a candidate, and beyond it, within the box.

    Args:
        image: float32 array.
        candidate: float32 array like it.
        longest: float, distance that points may have at most.
    """

    def __init__(self, image: Image, candidate: Image, longest: float = np.inf) -> None:
        self._image, self._longest = image, longest
        self._change = candidate.astype(np.float64) - image.astype(np.float64)

    def point(self, share: float) -> Image:
        """Returns the float32 image at a share of the way, 1 at the candidate."""
        moved = np.clip(self._image.astype(np.float64) + share * self._change, 0.0, 1.0)
        return moved.astype(np.float32)

    def allows(self, share: float) -> bool:
        """Returns whether the image at a share is within the longest distance."""
        return distance_of(self._image, self.point(share)) <= self._longest

    def first_success(self, succeeds: Callable[[Image], bool], shares: Sequence[float]):
        """Returns (share before, share) for the first of ascending shares that succeeds, or None.

        Args:
            succeeds: function of an image.
            shares: ascending; the share before the first of them is 0.
        """
        before = 0.0
        for share in shares:
            if not self.allows(share):
                return None
            if succeeds(self.point(share)):
                return before, share
            before = share
        return None

    def bisected(
        self,
        succeeds: Callable[[Image], bool],
        low: float,
        high: float,
        evaluations: int,
        tolerance: float,
    ) -> float:
        """Returns a share between two that succeeds, next to one that does not.

        The "fast bisection" of Brau et al., "On the Minimal Adversarial Perturbation for Deep
        Neural Networks with Provable Estimation Error" (2022).

        Args:
            succeeds: function of an image.
            low: float, a share that does not succeed.
            high: float, a share that succeeds.
            evaluations: int, at most.
            tolerance: float, the difference at which it stops, relative to the result.
        """
        for _ in range(evaluations):
            if high - low <= tolerance * high:
                break
            middle = (low + high) / 2
            if succeeds(self.point(middle)):
                high = middle
            else:
                low = middle
        return high
