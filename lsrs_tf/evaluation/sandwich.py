"""Certificates and attacks next to each other: the truth lies between them, or one is wrong."""

import dataclasses

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

# An alarm of sound certificates has at most this probability in a run.
SIGNIFICANCE = 0.01
# Distances are computed in float64, from float32 images.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Contradictions:
    """How many attacks lie inside certificates, and whether that can be chance.

    Attributes:
        images: int64 array, the places of the images that were attacked inside their certificate.
        trials: int, certificates that were attacked.
        probability: float, bound of the probability that an attack on a sound method contradicts.
        p_value: float, bound of the probability of so many contradictions; 1.0 for none.
    """

    images: NDArray[np.int64]
    trials: int
    probability: float
    p_value: float

    @property
    def alarm(self) -> bool:
        """Whether there are more contradictions than alpha allows."""
        return len(self.images) > 0 and self.p_value <= SIGNIFICANCE

    def __str__(self) -> str:
        """Returns what was found, for people."""
        count = f"{len(self.images)} of {self.trials} attacks inside a certificate"
        if not len(self.images):
            return f"{count}."
        names = ", ".join(map(str, self.images.tolist()))
        chance = f"chance gives so many with probability {self.p_value:.3g} at most"
        if not self.alarm:
            return f"{count} (images {names}): {chance}, which alpha allows."
        return (
            f"ALARM: {count} (images {names}): {chance}. A bound or the classifier is wrong; no "
            "certificate of this run is to be trusted."
        )


def contradictions(
    images: ArrayLike,
    radii: ArrayLike,
    distances: ArrayLike,
    probability: float,
    independent: bool = True,
) -> Contradictions:
    """Compares certified radii with distances of attacks on the same classifier.

    A certificate says that no change below its radius changes the answer. Each one is wrong with
    probability alpha at most, as is an answer for an image that was found, so that the number of
    contradictions of a sound method is at most binomial. Where certificates share their noise, they
    fail together, and Markov's inequality takes the place of the binomial law.

    Args:
        images: int array [images], the places of certified images that were attacked.
        radii: float array [images], certified radii.
        distances: float array [images], at which the answer is another class; infinite where none
            was found. (Abstentions contradict nothing.)
        probability: float, the sum of the alphas of certificate and answer; 0 for margins.
        independent: bool, whether the certificates have noise of their own.

    Examples:
        >>> print(contradictions([4, 7], [0.5, 0.5], [0.6, 0.3], probability=0.0))
        ALARM: 1 of 2 attacks inside a certificate (images 7): chance gives so many ...
        >>> contradictions([4, 7], [0.5, 0.5], [0.6, 0.3], probability=0.01).alarm
        False
    """
    images = np.asarray(images, np.int64)
    radii, distances = np.asarray(radii, np.float64), np.asarray(distances, np.float64)
    inside = distances * (1 + _ROUNDING) < radii
    count, trials = int(inside.sum()), len(images)
    p_value = 1.0
    if count and independent:
        p_value = float(scipy.stats.binom.sf(count - 1, trials, probability))
    elif count:
        p_value = min(1.0, trials * probability / count)
    return Contradictions(images[inside], trials, probability, p_value)


def accuracy_under_attack(distances: ArrayLike, at: float) -> float:
    """Returns the fraction of images whose answer was right, and is not known to change up to `at`.

    Args:
        distances: float array [images]: 0 where the answer was wrong already.
        at: float, L2 radius.
    """
    return float(np.mean(np.asarray(distances, np.float64) > at))


def tightness(radii: ArrayLike, correct: ArrayLike, distances: ArrayLike) -> float:
    """Returns the area under certified accuracy by that under the accuracy under attack.

    1 means that attacks reach every certificate; the truth lies between the two curves. An image of
    which no attack was found counts with the largest distance that was found for any, so that the
    ratio is then too large; NaN where no area is left.

    Args:
        radii: float array [images], certified radii.
        correct: bool array [images], whether the certified class is the true one.
        distances: float array [images], 0 where the answer was wrong already.
    """
    distances = np.asarray(distances, np.float64)
    finite = distances[np.isfinite(distances)]
    largest = max(np.max(finite, initial=0.0), np.max(np.asarray(radii), initial=0.0))
    area = np.mean(np.minimum(distances, largest))
    return float(np.mean(np.asarray(radii) * np.asarray(correct)) / area) if area else np.nan
