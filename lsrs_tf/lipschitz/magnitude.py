import dataclasses
import math

from lsrs_tf.lipschitz.evaluation import LARGEST_SIZE
from lsrs_tf.lipschitz.layer_properties import number_of_values
from lsrs_tf.numerics.rounding import UNIT_ROUNDOFF


@dataclasses.dataclass(frozen=True)
class Magnitude:
    """How large values get for images with pixels in [0, 1], and how far rounding takes them.

    Attributes:
        size: float, bound of the L2 norm of the exact values.
        error: float, bound of the L2 norm of what rounding in float64 has made of them; infinite
            where sizes are unknown, or so large that a step may overflow.
        interval: (low, high) of single values, or None if not known.
    """

    size: float
    error: float
    interval: tuple | None = None

    @classmethod
    def of_images(cls, shape):
        """Returns the magnitude of images of a shape with the batch dimension."""
        size = math.sqrt(number_of_values(shape))
        return cls(size, 0.0 if math.isfinite(size) else math.inf, (0.0, 1.0))

    def through(self, evaluation, shape, interval=None):
        """Returns the magnitude after a layer.

        Args:
            evaluation: `Evaluation` of the layer.
            shape: tuple with the batch dimension, of its output.
            interval: function of `LayerBound.interval`, or None.
        """
        known = self.interval is not None and interval is not None
        ends = interval(*self.interval) if known else None
        size = evaluation.lipschitz * self.size + evaluation.offset
        if ends is not None:
            size = min(size, math.sqrt(number_of_values(shape)) * max(map(abs, ends)))
        error = (
            evaluation.lipschitz * self.error
            + evaluation.relative * (self.size + self.error)
            + evaluation.absolute
        )
        return _checked(size, error, ends)

    def smaller_of_both(self, other):
        """Returns what two proofs about the same values say together."""
        size, error = min(self.size, other.size), min(self.error, other.error)
        return Magnitude(size, error, self.interval if other.interval is None else other.interval)

    @classmethod
    def merged(cls, magnitudes):
        """Returns the magnitude of sums, averages or concatenations of values."""
        size = sum(magnitude.size for magnitude in magnitudes)
        error = sum(magnitude.error for magnitude in magnitudes)
        rounding = (len(magnitudes) + 1) * UNIT_ROUNDOFF * (size + error)
        return _checked(size, error + rounding, None)

    def combined(self, other, weight):
        """Returns the magnitude of weight * self + (1 - weight) * other, as ConvexResidual has it.

        Args:
            other: `Magnitude`.
            weight: float in [0, 1]; that of the computation may be off by a few roundings.
        """
        sizes = self.size + other.size + self.error + other.error
        error = weight * self.error + (1 - weight) * other.error
        return _checked(max(self.size, other.size), error + 32 * UNIT_ROUNDOFF * sizes, None)


def _checked(size, error, interval):
    # Comparisons with NaN are false. What is added covers the rounding of the bounds themselves.
    fits = size + error < LARGEST_SIZE
    return Magnitude(size * (1 + 1e-12), error * (1 + 1e-12) if fits else math.inf, interval)
