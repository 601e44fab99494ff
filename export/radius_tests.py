from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.sampling import random_streams
from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.sequential import SequentialTest, sequential_test

_LEVELS = 64
# Rows that share a pass: each request of samples has a cost of its own.
_TOGETHER = 8
# Radii that people ask for.
_CUSTOMARY = 0.25


class RadiusTests:
    """Sequential tests of a ladder of target radii, for use in a graph.

    The boundaries of `lsrs_tf.statistics.sequential` take a while to compute, so that they are
    tabulated when a model is exported. A requested radius is rounded up to the next one of the
    ladder: what is robust at a larger radius is robust at a smaller one.

    Args:
        certifier: `Certifier`; its n is the most samples of a test.
        radii: floats above 0, target radii that get a place of their own in the ladder.

    Attributes:
        radii: float64 array, ascending, the ladder; radii above the last one cannot be tested.

    Raises:
        ValueError: if one of the radii cannot be certified with n samples.
    """

    def __init__(self, certifier: Certifier, radii: Collection[float] = ()) -> None:
        self._certifier = certifier
        self._classifier = certifier.classifier
        self.radii = _ladder(certifier, radii)
        tests = [self._test(radius) for radius in self.radii]
        self._looks = tests[0].looks
        self._boundaries = [
            np.stack([test.certify_from for test in tests]),
            np.stack([test.give_up_to for test in tests]),
        ]

    def _test(self, radius: float) -> SequentialTest:
        p0 = self._classifier.radius_scale.probability_needed(radius)
        return sequential_test(p0, self._certifier.settings.n, self._certifier.settings.alpha)

    def prepared(self, image: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what `settle` needs of one image: its latent, and its streams uint64 [2, 3]."""
        purposes = (random_streams.SELECTION, random_streams.ESTIMATION)
        streams = [random_streams.stream(seed, image, purpose) for purpose in purposes]
        return self._classifier.encode_in_graph(image), tf.stack(streams)

    def unprepared(self) -> tuple[NDArray[np.float32], NDArray[np.uint64]]:
        """Returns what stands for an image that is not tested."""
        return np.zeros(self._classifier.latent_shape, np.float32), np.zeros([2, 3], np.uint64)

    def levels(self, radii: tf.Tensor) -> tf.Tensor:
        """Returns the places in the ladder of radii float32 [rows], each at most the last one."""
        return tf.searchsorted(self.radii, tf.cast(radii, tf.float64))

    def settle(
        self, latents: tf.Tensor, streams: tf.Tensor, levels: tf.Tensor, valid: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Tests whether the labels of several images are certain up to radii.

        Passes of the head are shared by up to `_TOGETHER` rows: each gets an equal part of the
        places, first for the samples that select its label, then for those of its test. A row that
        is decided leaves its places to others. What a row is answered does not depend on them.

        Args:
            latents: float32 tensor [rows, *latent shape], see `prepared`.
            streams: uint64 tensor [rows, 2, 3], of the selection and of the estimation.
            levels: int32 tensor [rows], of `levels`.
            valid: bool tensor [rows], which are tested.

        Returns:
            (robust bool, label int64, samples int32), tensors [rows]; the label is that of the
            selection, robust or not, and any where `valid` is False, with 0 samples.
        """
        tables = [tf.gather(tf.constant(table), levels) for table in self._boundaries]
        rows = tf.shape(levels)[0]
        start = _Progress(
            places=tf.zeros([rows], tf.int64),
            selection=tf.zeros([rows, self._classifier.num_classes], tf.int64),
            hits=tf.zeros([rows], tf.int64),
            samples=tf.zeros([rows], tf.int64),
            undecided=valid,
            robust=tf.zeros([rows], tf.bool),
        )
        ended = tf.while_loop(
            lambda progress: tf.reduce_any(progress.undecided),
            lambda progress: (self._advanced(progress, latents, streams, tables),),
            (start,),
            parallel_iterations=1,
        )[0]
        label = tf.argmax(ended.selection, axis=1)
        return ended.robust, label, tf.cast(ended.samples, tf.int32)

    def _advanced(self, progress, latents, streams, tables):
        """Returns the progress after one more pass of the head."""
        n0, n = self._certifier.settings.n0, self._certifier.settings.n
        counts = _shares(progress.undecided, n0 + n - progress.places, self._classifier.batch_size)
        selecting = tf.clip_by_value(n0 - progress.places, 0, counts)
        taken = tf.maximum(progress.places - n0, 0)
        # Two requests of each row: samples that select, and samples that estimate.
        firsts = tf.stack([tf.minimum(progress.places, n0), taken], axis=1)
        votes, owners = self._votes(
            latents, streams, firsts, tf.stack([selecting, counts - selecting], axis=1)
        )
        rows, estimates = owners // 2, owners % 2 == 1
        chosen = tf.cast(votes & ~estimates[:, tf.newaxis], tf.int64)
        selection = progress.selection + tf.math.unsorted_segment_sum(
            chosen, rows, tf.shape(counts)[0]
        )
        # Final where there are estimates: selecting comes before.
        label = tf.gather(tf.argmax(selection, axis=1), rows)
        hits = estimates & tf.gather(votes, label, axis=1, batch_dims=1)
        # Hits before each place of the pass.
        before = tf.concat([[0], tf.cumsum(tf.cast(hits, tf.int64))], axis=0)
        begin = tf.cumsum(counts, exclusive=True) + selecting
        size = counts - selecting
        looks = tf.constant(self._looks)
        places = tf.clip_by_value(looks - taken[:, tf.newaxis], 0, size[:, tf.newaxis])
        earlier = progress.hits - tf.gather(before, begin)
        hits_at_looks = earlier[:, tf.newaxis] + tf.gather(before, begin[:, tf.newaxis] + places)
        seen = (looks > taken[:, tf.newaxis]) & (looks <= (taken + size)[:, tf.newaxis])
        certify_from, give_up_to = tables
        certified = seen & (hits_at_looks >= certify_from)
        ended = certified | (seen & ((hits_at_looks <= give_up_to) | (looks == n)))
        # Only the first look that ends the test counts.
        first, over = tf.argmax(ended, axis=1), tf.reduce_any(ended, axis=1)
        return _Progress(
            places=progress.places + counts,
            selection=selection,
            hits=earlier + tf.gather(before, begin + size),
            samples=tf.where(over, n0 + tf.gather(looks, first), progress.samples),
            undecided=progress.undecided & ~over,
            robust=tf.where(
                over, tf.gather(certified, first, axis=1, batch_dims=1), progress.robust
            ),
        )

    def _votes(self, latents, streams, firsts, counts):
        """Returns the votes of requests [rows, 2], and the number of the request of each."""
        wanted = tf.where(tf.reshape(counts, [-1]) > 0)[:, 0]
        votes, owners = self._classifier.graph.packed_votes(
            tf.gather(latents, wanted // 2),
            tf.gather(tf.reshape(streams, [-1, 3]), wanted),
            tf.gather(tf.reshape(firsts, [-1]), wanted),
            tf.gather(tf.reshape(counts, [-1]), wanted),
        )
        return votes, tf.gather(wanted, owners)


class _Progress(NamedTuple):
    """How far the tests of rows are, each a tensor with a leading dimension of rows.

    Attributes:
        places: int64 [rows], samples so far, of the selection and after it of the estimation.
        selection: int64 [rows, classes], votes of the selection.
        hits: int64 [rows], estimation samples for the label.
        samples: int64 [rows], those of a test that has ended, or 0.
        undecided: bool [rows].
        robust: bool [rows].
    """

    places: tf.Tensor
    selection: tf.Tensor
    hits: tf.Tensor
    samples: tf.Tensor
    undecided: tf.Tensor
    robust: tf.Tensor


def _shares(undecided: tf.Tensor, missing: tf.Tensor, size: int) -> tf.Tensor:
    """Returns how many places of a pass each row gets.

    Args:
        undecided: bool tensor [rows].
        missing: int64 tensor [rows], the most that a row can use.
        size: int, places of a pass.

    Returns:
        int64 tensor [rows], equal parts for the first `_TOGETHER` rows that are undecided.
    """
    number = tf.cumsum(tf.cast(undecided, tf.int64), exclusive=True)
    together = min(_TOGETHER, size)
    active = undecided & (number < together)
    rows = tf.maximum(tf.reduce_sum(tf.cast(active, tf.int64)), 1)
    # What does not divide goes to the first rows.
    even = size // rows
    share = even + tf.cast(number < size - rows * even, tf.int64)
    return tf.where(active, tf.minimum(share, missing), 0)


def _ladder(certifier: Certifier, radii: Collection[float]) -> NDArray[np.float64]:
    """Returns ascending radii from near 0 to the largest that n samples can certify."""
    settings = certifier.settings
    # A little less than what unanimous votes prove; a number that a request can name.
    largest = float(
        confidence.float32_below(
            (1 - 1e-6)
            * certifier.classifier.radius_scale.largest_radius(settings.n, settings.alpha)
        )
    )
    if any(not 0 < radius <= largest for radius in radii):
        raise ValueError(
            f"The radii to test must lie above 0 and be at most {largest}, which is what "
            f"n={settings.n} samples can prove at alpha={settings.alpha}. Received: {radii}"
        )
    steps = largest * np.arange(1, _LEVELS + 1) / _LEVELS
    # Requests come in float32: of both numbers next to a radius, the larger one is tested.
    asked = np.array([np.float64(-confidence.float32_below(-radius)) for radius in radii])
    customary = np.arange(_CUSTOMARY, largest, _CUSTOMARY)
    return np.unique(np.minimum(np.concatenate([steps, customary, asked]), largest))
