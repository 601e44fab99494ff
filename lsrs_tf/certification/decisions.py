"""What decides about one image: the samples that are wanted next, and the certificate at the end.

A decision holds numbers, never a classifier. Its samples may be taken in any portions, and together
with those of other images.
"""

import abc
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lsrs_tf.certification.certificate import SmoothedCertificate
from lsrs_tf.certification.settings import Settings
from lsrs_tf.sampling.random_streams import ESTIMATION, PILOT, SELECTION
from lsrs_tf.statistics.radius_scale import RadiusScale
from lsrs_tf.statistics.sample_plans import next_pilot, planned_samples
from lsrs_tf.statistics.sequential import SequentialTest, sequential_test

_UNDECIDED, _CERTIFIED, _GIVEN_UP = range(3)


def decisions(
    settings: Settings, scale: RadiusScale, num_classes: int
) -> Callable[[int], "Decision"]:
    """Returns a function of a clean label that makes the decision about one image.

    Args:
        settings: `Settings`.
        scale: `RadiusScale`.
        num_classes: int.

    Raises:
        ValueError: if a target radius cannot be certified with n samples.
    """
    if settings.method == "fixed":
        return lambda clean_label: FixedDecision(settings, scale, num_classes, clean_label)
    if settings.tolerance is not None:
        return lambda clean_label: ToleranceDecision(settings, scale, num_classes, clean_label)
    tests = [_test(radius, settings, scale) for radius in _target_radii(settings)]
    return lambda clean_label: SequentialDecision(settings, tests, num_classes, clean_label)


def _target_radii(settings: Settings) -> tuple[float, ...]:
    # Settings of sequential tests have them if they have no tolerance.
    assert settings.target_radii is not None
    return settings.target_radii


def _test(radius: float, settings: Settings, scale: RadiusScale) -> SequentialTest:
    try:
        return sequential_test(scale.probability_needed(radius), settings.n, settings.alpha)
    except ValueError as error:
        largest = scale.largest_radius(settings.n, settings.alpha)
        raise ValueError(
            f"The target radius {radius:g} is beyond the {largest:.4g} that n={settings.n} samples "
            f"can certify. {error}"
        ) from error


class Decision(abc.ABC):
    """Base of the decisions: stages of samples, the first of which selects a class.

    Args:
        settings: `Settings`.
        num_classes: int.
        clean_label: int, see `SmoothedCertificate`.

    Attributes:
        purpose: one of `random_streams`, the present stage.
        taken: int, samples of the present stage so far.
        wanted: int, samples up to which the present stage must go before anything can be decided.
    """

    def __init__(self, settings: Settings, num_classes: int, clean_label: int) -> None:
        self._settings = settings
        self._clean_label = clean_label
        self._counts = {
            purpose: np.zeros(num_classes, np.int64) for purpose in (SELECTION, PILOT, ESTIMATION)
        }
        self._samples = 0
        self.purpose, self.taken, self.wanted = SELECTION, 0, settings.n0

    @property
    def missing(self) -> int:
        """Samples that the present stage still needs before anything can be decided."""
        return self.wanted - self.taken

    def add(self, counts: NDArray[np.int64], samples: int) -> None:
        """Adds the votes of further samples of the present stage, and decides what can be.

        Args:
            counts: int64 array [classes].
            samples: int, how many; at most `missing`.
        """
        self._counts[self.purpose] += counts
        self._samples += samples
        self.taken += samples
        if not self.missing:
            self._advance()

    @abc.abstractmethod
    def _advance(self) -> None:
        """Decides what the samples so far decide, and what is wanted next."""

    @abc.abstractmethod
    def certificate(self) -> SmoothedCertificate | None:
        """Returns the `SmoothedCertificate`, or None as long as it may still change."""

    @property
    def _label(self) -> int:
        # The class is that of the selection, whatever the estimate says.
        return int(self._counts[SELECTION].argmax())

    def _enter(self, purpose: int, wanted: int) -> None:
        self.purpose, self.taken, self.wanted = purpose, 0, wanted

    def _certificate(self, radius: float, p_lower: float) -> SmoothedCertificate:
        return SmoothedCertificate(
            label=self._label if radius > 0 else -1,
            clean_label=self._clean_label,
            radius=radius,
            p_lower=p_lower,
            counts=self._counts[ESTIMATION],
            selection_counts=self._counts[SELECTION],
            samples=self._samples,
        )


class _Estimate(Decision):
    """A decision that ends with an estimate of a number of samples that was fixed before it.

    Args:
        settings: `Settings`.
        scale: `RadiusScale`.
        num_classes: int.
        clean_label: int, see `SmoothedCertificate`.
    """

    def __init__(
        self, settings: Settings, scale: RadiusScale, num_classes: int, clean_label: int
    ) -> None:
        super().__init__(settings, num_classes, clean_label)
        self._scale = scale

    def certificate(self) -> SmoothedCertificate | None:
        """Returns the `SmoothedCertificate`, or None before the estimate is complete."""
        if self.purpose != ESTIMATION or self.missing:
            return None
        return self._certificate(
            *self._scale.proven(
                self._counts[ESTIMATION],
                self._label,
                n=self.wanted,
                alpha=self._settings.alpha,
                against=self._settings.against,
            )
        )


class FixedDecision(_Estimate):
    """A fixed number of samples (Cohen et al. 2019, algorithm CERTIFY; LS-RS paper, theorem 1).

    n0 samples select a class, n other samples bound its probability from below.
    """

    def _advance(self) -> None:
        if self.purpose == SELECTION:
            self._enter(ESTIMATION, self._settings.n)


class ToleranceDecision(_Estimate):
    """An estimate whose size other samples have planned.

    The number of samples of the estimate depends on those of selection and planning alone, which
    are independent of its own: its Clopper-Pearson bound at alpha is valid as for any fixed number.
    """

    def _advance(self) -> None:
        settings = self._settings
        assert settings.tolerance is not None
        # In units of sigma.
        tolerance = settings.tolerance * self._scale.lipschitz / self._scale.sigma
        plan = (settings.n, settings.alpha, tolerance)
        if self.purpose == SELECTION:
            self._enter(PILOT, next_pilot(0, 0, *plan))
        elif self.purpose == PILOT:
            hits = int(self._counts[PILOT][self._label])
            self.wanted = next_pilot(hits, self.taken, *plan)
            if not self.missing:
                self._enter(ESTIMATION, planned_samples(hits, self.taken, *plan))


class SequentialDecision(Decision):
    """The sequential tests of target radii.

    A test that has decided stays as it is. The certificate is that of the largest radius up to
    which all tests certify: if the true radius is smaller than that, the test of the smallest
    target above the true radius was wrong, which has a probability of at most alpha.

    Args:
        settings: `Settings` with target radii.
        tests: a `sequential.SequentialTest` for each radius, of the same looks.
        num_classes: int.
        clean_label: int, see `SmoothedCertificate`.
    """

    def __init__(
        self,
        settings: Settings,
        tests: Sequence[SequentialTest],
        num_classes: int,
        clean_label: int,
    ) -> None:
        super().__init__(settings, num_classes, clean_label)
        self._radii, self._tests = _target_radii(settings), tests
        self._states = [_UNDECIDED] * len(tests)
        self._look = 0

    def _advance(self) -> None:
        looks = self._tests[0].looks
        if self.purpose == SELECTION:
            self._enter(ESTIMATION, int(looks[0]))
            return
        hits = int(self._counts[ESTIMATION][self._label])
        for index, test in enumerate(self._tests):
            if self._states[index] == _UNDECIDED:
                self._states[index] = self._outcome(test, hits)
        self._look += 1
        if self._look < len(looks):
            self.wanted = int(looks[self._look])

    def _outcome(self, test: SequentialTest, hits: int) -> int:
        if hits >= test.certify_from[self._look]:
            return _CERTIFIED
        if hits <= test.give_up_to[self._look] or self._look + 1 == len(test.looks):
            return _GIVEN_UP
        return _UNDECIDED

    def certificate(self) -> SmoothedCertificate | None:
        """Returns the `SmoothedCertificate`, or None as long as it may still change."""
        certified = 0
        while certified < len(self._states) and self._states[certified] == _CERTIFIED:
            certified += 1
        if certified < len(self._states) and self._states[certified] == _UNDECIDED:
            return None
        if not certified:
            return self._certificate(0.0, 0.0)
        return self._certificate(self._radii[certified - 1], self._tests[certified - 1].p0)
