import numpy as np

from lsrs_tf.certification.certificate import Certificate
from lsrs_tf.sampling.random_streams import ESTIMATION, SELECTION

_UNDECIDED, _CERTIFIED, _GIVEN_UP = range(3)


class Undecided:
    """One image on its way through the sequential tests of its target radii.

    A test that has decided stays as it is. The certificate is that of the largest radius up to
    which all tests certify: if the true radius is smaller than that, the test of the smallest
    target above the true radius was wrong, which has a probability of at most alpha.

    Args:
        radii: ascending floats, the target radii.
        tests: a `SequentialTest` for each, of the same looks.
        n0: int, samples that select the class.
        num_classes: int.
        clean_label: int, see `Certificate`.

    Attributes:
        purpose: `SELECTION` of `random_streams`, and `ESTIMATION` after it.
        taken: int, samples of the present stage (selection or estimation) so far.
    """

    def __init__(self, radii, tests, n0, num_classes, clean_label):
        self._radii = radii
        self._tests = tests
        self._n0 = n0
        self._clean_label = clean_label
        self._states = [_UNDECIDED] * len(tests)
        self._look = 0
        self._label = None
        self._selection_counts = np.zeros(num_classes, np.int64)
        self._counts = np.zeros(num_classes, np.int64)
        self.purpose = SELECTION
        self.taken = 0

    @property
    def wanted(self):
        """Samples up to which the present stage must go before something can be decided."""
        return self._n0 if self.purpose == SELECTION else int(self._tests[0].looks[self._look])

    def add(self, counts, samples):
        """Adds the votes [classes] of so many further samples, and decides what can be."""
        selecting = self.purpose == SELECTION
        stage = self._selection_counts if selecting else self._counts
        stage += counts
        self.taken += samples
        if self.taken < self.wanted:
            return
        if selecting:
            self._label = int(self._selection_counts.argmax())
            self.purpose, self.taken = ESTIMATION, 0
            return
        hits = self._counts[self._label]
        for index, test in enumerate(self._tests):
            if self._states[index] == _UNDECIDED:
                self._states[index] = self._decision(test, hits)
        self._look += 1

    def _decision(self, test, hits):
        if hits >= test.certify_from[self._look]:
            return _CERTIFIED
        if hits <= test.give_up_to[self._look] or self._look + 1 == len(test.looks):
            return _GIVEN_UP
        return _UNDECIDED

    def certificate(self):
        """Returns the `Certificate`, or None as long as it may still change."""
        certified = 0
        while certified < len(self._states) and self._states[certified] == _CERTIFIED:
            certified += 1
        if certified < len(self._states) and self._states[certified] == _UNDECIDED:
            return None
        return Certificate(
            label=self._label if certified else -1,
            clean_label=self._clean_label,
            radius=self._radii[certified - 1] if certified else 0.0,
            p_lower=self._tests[certified - 1].p0 if certified else 0.0,
            counts=self._counts,
            selection_counts=self._selection_counts,
            samples=self._n0 + self.taken,
        )
