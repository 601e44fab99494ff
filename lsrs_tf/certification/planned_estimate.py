import numpy as np

from lsrs_tf.certification.certificate import Certificate
from lsrs_tf.certification.recertification import recertified
from lsrs_tf.sampling.random_streams import ESTIMATION, PILOT, SELECTION
from lsrs_tf.statistics.sample_plans import next_pilot, planned_samples


class PlannedEstimate:
    """One image on its way through selection, planning and an estimate of fixed size.

    The number of samples of the estimate depends on those of selection and planning alone, which
    are independent of its own: its Clopper-Pearson bound at alpha is valid as for any fixed number.

    Args:
        n0: int, samples that select the class.
        n: int, the most samples of the estimate.
        alpha: float in (0, 1).
        tolerance: float above 0, in input space.
        classifier: `SmoothedClassifier`.
        clean_label: int, see `Certificate`.

    Attributes:
        purpose: one of `random_streams`, the present stage.
        taken: int, samples of the present stage so far.
        wanted: int, samples up to which the present stage must go.
    """

    def __init__(self, n0, n, alpha, tolerance, classifier, clean_label):
        self._n = n
        self._alpha = alpha
        self._tolerance = tolerance * classifier.lipschitz / classifier.sigma
        self._classifier = classifier
        self._clean_label = clean_label
        self._counts = {
            purpose: np.zeros(classifier.num_classes, np.int64)
            for purpose in (SELECTION, PILOT, ESTIMATION)
        }
        self._samples = 0
        self._label = None
        self._done = False
        self.purpose, self.taken, self.wanted = SELECTION, 0, n0

    def add(self, counts, samples):
        """Adds the votes [classes] of so many further samples, and goes on to the next stage."""
        self._counts[self.purpose] += counts
        self._samples += samples
        self.taken += samples
        if self.taken < self.wanted:
            return
        if self.purpose == SELECTION:
            self._label = int(self._counts[SELECTION].argmax())
            self.purpose, self.taken = PILOT, 0
            self.wanted = next_pilot(0, 0, self._n, self._alpha, self._tolerance)
        elif self.purpose == PILOT:
            hits = int(self._counts[PILOT][self._label])
            plan = (self._n, self._alpha, self._tolerance)
            self.wanted = next_pilot(hits, self.taken, *plan)
            if self.wanted == self.taken:
                self.wanted = planned_samples(hits, self.taken, *plan)
                self.purpose, self.taken = ESTIMATION, 0
        else:
            self._done = True

    def certificate(self):
        """Returns the `Certificate`, or None before the estimate is complete."""
        if not self._done:
            return None
        label, radius, p_lower = recertified(
            # The class is that of the selection, whatever the estimate says.
            np.arange(self._classifier.num_classes) == self._label,
            self._counts[ESTIMATION],
            self.wanted,
            self._alpha,
            self._classifier.sigma,
            self._classifier.lipschitz,
            self._classifier.radius_loss,
            "half",
        )
        return Certificate(
            label=label,
            clean_label=self._clean_label,
            radius=radius,
            p_lower=p_lower,
            counts=self._counts[ESTIMATION],
            selection_counts=self._counts[SELECTION],
            samples=self._samples,
        )
