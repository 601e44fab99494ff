import math
import numbers

import numpy as np

from lsrs_tf.certification.packed_certifier import PackedCertifier
from lsrs_tf.certification.undecided import Undecided
from lsrs_tf.statistics.confidence import largest_radius
from lsrs_tf.statistics.sequential import probability_needed, sequential_test


class SequentialCertifier(PackedCertifier):
    """Certifies images at target radii with as many samples as each one needs.

    n0 samples select a class, further ones go through a calibrated test for each radius, see
    `lsrs_tf.statistics.sequential`; the certificate has the largest radius up to which all certify.

    Args:
        model: built `LatentSmoothingModel`, see `PackedCertifier`.
        target_radii: float or floats above 0, L2 radii in units of pixels in [0, 1].
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
        target_radii: tuple of floats, ascending.

    Raises:
        ValueError: if a setting is impossible, or a radius cannot be certified with n samples.
    """

    def __init__(
        self,
        model,
        target_radii,
        sigma=None,
        n0=100,
        n=100_000,
        alpha=0.001,
        seed=0,
        batch_size=256,
        jit_compile=None,
        noise="float32",
    ):
        self.target_radii = checked_target_radii(target_radii)
        super().__init__(model, sigma, n0, n, alpha, seed, batch_size, jit_compile, noise)
        self._tests = [self._test(radius) for radius in self.target_radii]

    def _test(self, radius):
        scale = self.classifier.radius_scale
        try:
            return sequential_test(probability_needed(radius, *scale), self.n, self.alpha)
        except ValueError as error:
            largest = largest_radius(self.n, self.alpha, *scale)
            raise ValueError(
                f"The target radius {radius:g} is beyond the {largest:.4g} that n={self.n} samples "
                f"can certify. {error}"
            ) from error

    def new_undecided(self, clean_label):
        """Returns the tests of one image, still undecided."""
        classes = self.classifier.num_classes
        return Undecided(self.target_radii, self._tests, self.n0, classes, clean_label)


def checked_target_radii(target_radii):
    """Returns target radii as an ascending tuple of floats, or raises if one is impossible."""
    radii = np.ravel(target_radii).tolist()
    for radius in radii:
        number = isinstance(radius, numbers.Real) and not isinstance(radius, bool)
        if not (number and math.isfinite(radius) and radius > 0):
            raise ValueError(
                "`target_radii` must be numbers above 0, L2 radii in units of pixels in [0, 1]. "
                f"Received: target_radii={target_radii!r}"
            )
    if not radii or len(set(radii)) < len(radii):
        raise ValueError(
            "`target_radii` must be at least one radius, each of them once. "
            f"Received: target_radii={target_radii!r}"
        )
    return tuple(sorted(map(float, radii)))
