import math
import numbers

from lsrs_tf.certification.packed_certifier import PackedCertifier
from lsrs_tf.certification.planned_estimate import PlannedEstimate


class ToleranceCertifier(PackedCertifier):
    """Certifies nearly the radius that n samples would, with as many samples as that takes.

    n0 samples select a class; pilot samples plan how many further ones are needed for a radius that
    is expected to be within the tolerance of that of n; these estimate. All three are disjoint.

    Args:
        model: built `LatentSmoothingModel`, see `PackedCertifier`.
        tolerance: float above 0, in units of pixels in [0, 1].
        sigma: see `PackedCertifier`, as are the further arguments.
        n0: int, samples that select the class.
        n: int, the most samples that estimate its probability.
        alpha: float in (0, 1), probability that one certificate is wrong.
        seed: int, seed of the noise.
        batch_size: int, noisy samples in one pass of the head.
        jit_compile: bool or None.
        noise: 'float32' or 'exact'.

    Attributes:
        classifier: the `SmoothedClassifier`.
        tolerance: float.

    Raises:
        ValueError: if a setting is impossible.
    """

    def __init__(
        self,
        model,
        tolerance,
        sigma=None,
        n0=100,
        n=100_000,
        alpha=0.001,
        seed=0,
        batch_size=256,
        jit_compile=None,
        noise="float32",
    ):
        self.tolerance = checked_tolerance(tolerance)
        super().__init__(model, sigma, n0, n, alpha, seed, batch_size, jit_compile, noise)

    def new_undecided(self, clean_label):
        """Returns the estimate of one image, not yet planned."""
        return PlannedEstimate(
            self.n0, self.n, self.alpha, self.tolerance, self.classifier, clean_label
        )


def checked_tolerance(tolerance):
    """Returns a tolerance as a float, or raises if it is not a number above 0."""
    number = isinstance(tolerance, numbers.Real) and not isinstance(tolerance, bool)
    if not (number and math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(
            "`tolerance` must be a number above 0, in units of pixels in [0, 1]. "
            f"Received: tolerance={tolerance!r}"
        )
    return float(tolerance)
