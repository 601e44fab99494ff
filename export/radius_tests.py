from collections.abc import Collection

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.sampling import random_streams
from lsrs_tf.statistics import confidence
from lsrs_tf.statistics.sequential import SequentialTest, sequential_test

_LEVELS = 64
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
        self._certify_from = np.stack([test.certify_from for test in tests])
        self._give_up_to = np.stack([test.give_up_to for test in tests])

    def _test(self, radius: float) -> SequentialTest:
        p0 = self._classifier.radius_scale.probability_needed(radius)
        return sequential_test(p0, self._certifier.settings.n, self._certifier.settings.alpha)

    def settle(
        self, image: tf.Tensor, latent: tf.Tensor, seed: tf.Tensor, radius: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Tests whether the label of one image is certain up to a radius.

        Args:
            image: float32 tensor; its content names the random stream.
            latent: float32 tensor, the image's latent.
            seed: int64 scalar tensor.
            radius: float32 scalar tensor, at least 0 and at most the last of the ladder.

        Returns:
            (robust bool, label int64, samples int32), scalar tensors; the label is that of the
            selection, robust or not.
        """
        level = tf.searchsorted(self.radii, [tf.cast(radius, tf.float64)])[0]
        certify_from = tf.gather(tf.constant(self._certify_from), level)
        give_up_to = tf.gather(tf.constant(self._give_up_to), level)
        looks = tf.constant(self._looks)
        n0, chunk = self._certifier.settings.n0, self._classifier.batch_size
        graph = self._classifier.graph
        selection = graph.sample_counts(image, latent, seed, random_streams.SELECTION, n0)
        label = tf.argmax(selection)
        stream = random_streams.stream(seed, image, random_streams.ESTIMATION)
        n = tf.constant(self._certifier.settings.n, tf.int64)

        def one_chunk(taken, hits, _decided, _robust):
            votes = graph.pass_votes(latent, stream, taken, n)
            hits_before = tf.cumsum(tf.cast(tf.gather(votes, label, axis=1), tf.int64))
            places = tf.clip_by_value(looks - taken - 1, 0, chunk - 1)
            hits_at_looks = hits + tf.gather(hits_before, places)
            seen = (looks > taken) & (looks <= taken + chunk)
            certified = seen & (hits_at_looks >= certify_from)
            ended = certified | (seen & ((hits_at_looks <= give_up_to) | (looks == n)))
            # Only the first look that ends the test counts.
            first = tf.argmax(ended)
            over = tf.reduce_any(ended)
            return (
                tf.where(over, looks[first], taken + chunk),
                hits + hits_before[-1],
                over,
                over & certified[first],
            )

        samples, _, _, robust = tf.while_loop(
            lambda _taken, _hits, decided, _robust: ~decided,
            one_chunk,
            (
                tf.zeros([], tf.int64),
                tf.zeros([], tf.int64),
                tf.constant(False),
                tf.constant(False),
            ),
            parallel_iterations=1,
        )
        return robust, label, tf.cast(samples + n0, tf.int32)


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
