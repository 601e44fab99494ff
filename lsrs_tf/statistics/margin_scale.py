import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

# A difference, its distance from the loss and a quotient: three roundings, and far more.
ROUNDING = 1e-15
# Below it, roundings are no longer relative to the number.
_SMALLEST = 1e-290


@dataclasses.dataclass(frozen=True)
class MarginProof:
    """What the logits of one image prove.

    Attributes:
        label: int, the class whose logit is the largest, -1 for abstention.
        rival: int, the class that limits the radius, -1 for abstention.
        margin: float, the logit of the label less that of the rival, 0.0 for abstention.
        pair_lipschitz: float, bound of the Lipschitz constant of that difference, 0.0 for
            abstention.
        radius: float, L2 radius in units of the input, 0.0 for abstention.
    """

    label: int
    rival: int
    margin: float
    pair_lipschitz: float
    radius: float


_ABSTENTION = MarginProof(label=-1, rival=-1, margin=0.0, pair_lipschitz=0.0, radius=0.0)


def largest(logits: NDArray[np.floating]) -> int:
    """Returns the class of the largest logit, -1 where it is tied or a logit is not finite.

    Args:
        logits: float array [classes].
    """
    label = int(np.argmax(logits))
    alone = np.count_nonzero(logits == logits[label]) == 1
    return label if alone and np.all(np.isfinite(logits)) else -1


@dataclasses.dataclass(frozen=True, eq=False)
class MarginScale:
    """What makes a certified radius of logits, rounded to the safe side.

    R = min over classes j of (f_A - f_j - loss) / L_Aj, where L_Aj bounds the Lipschitz constant
    of f_A - f_j: while an image changes by less than R, no f_j reaches f_A.

    Sources: Tsuzuku, Sato and Sugiyama, "Lipschitz-Margin Training" (2018), proposition 1, for
    L_Aj = sqrt(2) L; Hein and Andriushchenko, "Formal Guarantees on the Robustness of a Classifier
    against Adversarial Manipulation" (2017), theorem 2.1, for a constant of each pair.

    Attributes:
        pair_lipschitz: float64 [classes, classes], symmetric; entry (i, j) is an upper bound above
            0 of the Lipschitz constant of f_i - f_j. The diagonal is not used.
        loss: float, by how much rounding may lower a margin, at least 0.
        largest_radius: float above 0, no radius is larger. Changes beyond it are of no image.

    Raises:
        ValueError: if there are fewer than two classes, or a number is not possible.

    Examples:
        >>> import numpy as np
        >>> scale = MarginScale(np.full((3, 3), 2.0), loss=0.0, largest_radius=10.0)
        >>> round(scale.proven(np.array([1.0, 4.0, 3.0])).radius, 12)
        0.5
    """

    pair_lipschitz: NDArray[np.float64]
    loss: float
    largest_radius: float

    def __post_init__(self) -> None:
        shape = np.shape(self.pair_lipschitz)
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
            raise ValueError(
                "A margin needs at least two classes, and a bound for every pair of them. "
                f"Received: bounds of shape {shape}"
            )
        of_pairs = np.asarray(self.pair_lipschitz)[~np.eye(shape[0], dtype=bool)]
        if not (np.all(of_pairs > 0) and np.all(np.isfinite(of_pairs))):
            raise ValueError("The bound of every pair of classes must be finite and above 0.")
        if not (self.loss >= 0 and self.largest_radius > 0):
            raise ValueError(
                "The loss must be at least 0, the largest radius above 0. "
                f"Received: loss={self.loss}, largest_radius={self.largest_radius}"
            )

    @property
    def num_classes(self) -> int:
        """Int."""
        return len(self.pair_lipschitz)

    def proven(self, logits: NDArray[np.floating]) -> MarginProof:
        """Returns what the logits [classes] of one image prove, a `MarginProof`.

        Logits that are not finite, that are tied, or whose margin is within what rounding may
        have changed prove nothing.
        """
        logits = np.asarray(logits, np.float64)
        if logits.shape != (self.num_classes,):
            raise ValueError(
                f"{self.num_classes} logits are needed. Received: an array of shape {logits.shape}"
            )
        label = largest(logits)
        if label == -1:
            return _ABSTENTION
        rivals = np.flatnonzero(np.arange(self.num_classes) != label)
        radii = [
            self.radius(logits[label] - logits[rival], self.pair_lipschitz[label, rival])
            for rival in rivals
        ]
        first = int(np.argmin(radii))
        if not radii[first] > 0:
            return _ABSTENTION
        rival = int(rivals[first])
        return MarginProof(
            label=label,
            rival=rival,
            margin=float(logits[label] - logits[rival]),
            pair_lipschitz=float(self.pair_lipschitz[label, rival]),
            radius=radii[first],
        )

    def radius(self, margin: float, pair_lipschitz: float) -> float:
        """Returns the radius within which one class stays behind; 0.0 if nothing is proven.

        Args:
            margin: float, difference of two logits, as computed.
            pair_lipschitz: float, bound of the Lipschitz constant of that difference.
        """
        lowered = (margin * (1 - ROUNDING) - self.loss * (1 + ROUNDING)) * (1 - ROUNDING)
        if not lowered > 0:
            return 0.0
        # A quotient that overflows is far beyond the largest radius.
        with np.errstate(over="ignore"):
            quotient = float(np.float64(lowered) / pair_lipschitz) * (1 - ROUNDING)
        if min(lowered, quotient) < _SMALLEST:
            return 0.0
        return min(quotient, math.nextafter(self.largest_radius, 0.0))
