import dataclasses
import math
from typing import Literal, TypeAlias

import numpy as np
import scipy.special
from numpy.typing import NDArray

from lsrs_tf.statistics import confidence

# SciPy's normal law and its inverse are accurate to about 1e-15, relatively; what is computed from
# them is lowered by far more than that.
_NORMAL_MARGIN = 1e-13

# What the probability of a class is held against, see `RadiusScale.proven`.
Against: TypeAlias = Literal["half", "runner_up"]


@dataclasses.dataclass(frozen=True)
class RadiusScale:
    """What makes a certified radius of a probability, rounded to the safe side.

    Sources: Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized
    Smoothing" (2019), theorem 1; LS-RS paper, theorem 1.

    Attributes:
        sigma: float above 0, standard deviation of the noise in the latent.
        lipschitz: float above 0, upper bound of the encoder's Lipschitz constant.
        loss: float, by how much rounding lowers a radius in the latent.

    Raises:
        ValueError: if a number is not finite, or not positive where it must be.

    Examples:
        >>> scale = RadiusScale(sigma=0.25, lipschitz=1.0)
        >>> round(scale.radius(0.99), 6)
        0.581587
        >>> scale.radius(scale.probability_needed(0.5)) >= 0.5
        True
    """

    sigma: float
    lipschitz: float
    loss: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.sigma, self.lipschitz)
        if not all(number > 0 and math.isfinite(number) for number in numbers):
            raise ValueError(
                "A radius needs a finite sigma and a finite Lipschitz bound, both above 0. "
                f"Received: sigma={self.sigma}, lipschitz={self.lipschitz}"
            )
        # An infinite loss is a proof that says nothing.
        if not self.loss >= 0:
            raise ValueError(f"The loss of a radius must be at least 0. Received: {self.loss}")

    def radius(self, p_lower: float) -> float:
        """Returns the certified L2 radius in input space; 0.0 means abstention.

        R = (sigma * ndtri(p_lower) - loss) / L, where more than half of the noisy votes are certain
        to go to one class (p_B = 1 - p_A).

        Args:
            p_lower: float, lower bound of the probability of the class.

        Returns:
            float, in units of the input, at least 0.
        """
        if not p_lower > 0.5:
            return 0.0
        in_latent = self.sigma * float(scipy.special.ndtri(p_lower)) * (1.0 - _NORMAL_MARGIN)
        return self._in_input(in_latent)

    def radius_against(self, p_lower: float, p_upper: float) -> float:
        """Returns the certified L2 radius where other classes have at most a known probability.

        R = (sigma / 2 * (ndtri(p_lower) - ndtri(p_upper)) - loss) / L.

        Args:
            p_lower: float, lower bound of the probability of the class.
            p_upper: float, upper bound of the probability of every other class.

        Returns:
            float, in units of the input; 0.0 means abstention.
        """
        if not 0.0 < p_upper < p_lower < 1.0:
            return 0.0
        high, low = (float(scipy.special.ndtri(p)) for p in (p_lower, p_upper))
        distance = high - low - _NORMAL_MARGIN * (abs(high) + abs(low))
        return self._in_input(self.sigma / 2 * distance)

    def proven(
        self,
        counts: NDArray[np.integer],
        label: int,
        *,
        n: int,
        alpha: float,
        against: Against = "half",
    ) -> tuple[float, float]:
        """Returns what votes of a fixed number of samples prove about a class.

        Args:
            counts: int array [classes], votes. Samples without a vote may have been anyone's.
            label: int, the class, selected by other samples.
            n: int, samples, those without a vote included.
            alpha: float in (0, 1), probability that the radius is too large.
            against: 'half' for the radius of a class that has more than half of the votes,
                'runner_up' for that of a class that has more than any other.

        Returns:
            (radius, lower bound of the probability of the class), floats; radius 0.0 means
            abstention.
        """
        if against == "runner_up":
            p_lower, p_upper = confidence.runner_up_bounds(counts, label, n, alpha)
            return self.radius_against(p_lower, p_upper), p_lower
        p_lower = confidence.lower_confidence_bound(int(counts[label]), n, alpha)
        return self.radius(p_lower), p_lower

    def probability_needed(self, radius: float) -> float:
        """Returns the least probability whose certified radius is at least `radius`, rounded up.

        Args:
            radius: float above 0, L2 radius in input space.
        """
        # All roundings go the safe way.
        quantile = (radius * self.lipschitz + self.loss) / self.sigma * (1 + 1e-13)
        tail = float(scipy.special.ndtr(-quantile)) * (1 - 1e-12)
        return min(1.0, float((1 - tail) * (1 + 2.0**-52)))

    def largest_radius(self, n: int, alpha: float) -> float:
        """Returns the radius that n unanimous votes prove.

        Args:
            n: int, samples.
            alpha: float in (0, 1).
        """
        return self.radius(confidence.lower_confidence_bound(n, n, alpha))

    def _in_input(self, radius_in_latent: float) -> float:
        lowered = (radius_in_latent - self.loss) / self.lipschitz * (1.0 - _NORMAL_MARGIN)
        return max(0.0, lowered)
