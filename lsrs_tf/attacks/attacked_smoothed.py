"""The smoothed classifier, as attacks see it."""

import math

import numpy as np
import tensorflow as tf

from lsrs_tf.attacks.attacked_base import rows_differ
from lsrs_tf.attacks.goal import Goal
from lsrs_tf.attacks.line_search import MORE_STARTS, Segment
from lsrs_tf.sampling import random_streams
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier
from lsrs_tf.statistics.confidence import check_alpha, checked_count, predicted_label

# The share of the samples of an answer that the line search takes at each point.
_SEARCH_SHARE = 5
_EVALUATIONS, _TOLERANCE = 6, 0.01
# Soft votes are not votes, and those of a few draws not those of all: the boundary may be further.
_SHARES = (1.0, 1.1, 1.25, 1.5, 2.0)
# Points that are asked with fresh samples, relative to where the line search ended.
_FURTHER = (1.0, 1.03, 1.1, 1.25)
# From where the classifier abstains to where it answers another class.
_BEYOND = (1.03, 1.08, 1.2, 1.4, 1.8, 2.5)


class AttackedSmoothed:
    """The smoothed classifier: soft votes with gradients, and answers as `predict` gives them.

    Scores are logarithms of the mean softmax over draws of the noise that stay the same in all
    steps, as in Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed
    Classifiers" (2019), equation 6. The noise is in the latent, so that the encoder runs once for
    all draws, forwards and backwards.

    Answers come from samples of their own (`random_streams.PREDICTION`), which depend on the image
    that is asked about: they are those of `lsrs_tf.predict` with the same seed, n and alpha. The
    line search takes a fifth of the samples, of the attack's own stream, and its result counts only
    if the answer agrees. At most four points of each start are asked; that an image is found to
    have another class is decided at an alpha divided by their number, so that it is wrong with
    probability alpha at most.

    Args:
        model: built `LatentSmoothingModel`, or a `SmoothedClassifier`.
        sigma: float above 0, or None for the model's.
        draws: int, draws of the noise for gradients.
        n: int, samples of an answer.
        alpha: float in (0, 1), probability that an answer is wrong.
        seed: int, seed of draws and samples.
        starts: int, starts of each search, which share alpha.

    Attributes:
        name: 'smoothed'.
        image_shape: tuple, (height, width, channels).
        num_classes: int.
        batch_size: int, images that are attacked together by default.
        classifier: the `SmoothedClassifier`.
    """

    name = "smoothed"

    def __init__(self, model, *, sigma=None, draws=32, n=1_000, alpha=0.001, seed=0, starts=1):
        if isinstance(model, SmoothedClassifier):
            self.classifier = model
        else:
            self.classifier = SmoothedClassifier(model, sigma)
        self._draws = checked_count(draws, "draws")
        self._n, self._alpha = checked_count(n, "n"), check_alpha(alpha)
        # The starts that are given instead of failed ones are among them.
        self._strict_alpha = self._alpha / (len(_FURTHER) * (starts + MORE_STARTS))
        if predicted_label(np.array([n, 0]), n, self._strict_alpha) != 0:
            raise ValueError(
                f"With n={n} samples no image can be found to have another class at alpha={alpha}, "
                "not even when all of them agree. Use more samples (1,000 is customary)."
            )
        self._seed = seed
        self.image_shape = self.classifier.image_shape
        self.num_classes = self.classifier.num_classes
        self.batch_size = max(1, 256 // self._draws)

    def scores(self, images, draws):
        """Returns logarithms of soft votes, float64 [images, classes]; used in graphs.

        Args:
            images: float64 tensor [images, height, width, channels].
            draws: float32 tensor [images, draws, *latent shape].
        """
        latents = tf.cast(self.classifier.encoder(images, training=False), tf.float32)
        noisy = latents[:, tf.newaxis] + draws
        rows = tf.reshape(noisy, [-1, *self.classifier.latent_shape])
        logits = tf.cast(self.classifier.logits_in_graph(rows), tf.float64)
        votes = tf.nn.log_softmax(tf.reshape(logits, [-1, self._draws, self.num_classes]))
        return tf.reduce_logsumexp(votes, axis=1) - math.log(self._draws)

    def columns(self):
        """Returns what a row of a file of attacks says of the classifier, dict of str to value."""
        return {
            "classifier": self.name,
            "sigma": self.classifier.radius_scale.sigma,
            "noise": self.classifier.noise.name,
            "draws": self._draws,
            "n": self._n,
            "alpha": self._alpha,
        }

    def draws(self, images, start):
        """Returns noise for several images, float32 [images, draws, *latent shape].

        Args:
            images: list of float32 arrays; their content names the random streams.
            start: int, which start of the search; each has its own draws.
        """
        return tf.stack([self._noise(image, start) for image in images])

    def _noise(self, image, start):
        stream = random_streams.stream(self._seed, tf.constant(image), random_streams.ATTACK)
        drawn, _ = self.classifier.noise.draw(
            stream, tf.constant(start * self._draws, tf.int64), self._draws
        )
        return drawn

    def answer(self, image):
        """Returns what `lsrs_tf.predict` answers for one float32 image, -1 for abstention."""
        return self._answer(image, self._alpha)

    def _answer(self, image, alpha):
        return predicted_label(
            self._counts(image, self._n, random_streams.PREDICTION), self._n, alpha
        )

    def _counts(self, image, samples, purpose):
        latent = self.classifier.encode(image)
        (counts,) = self.classifier.count(image, latent, [(purpose, samples)], self._seed)
        return counts

    def nearest(self, image, candidate, goal: Goal, longest):
        """Tightens a candidate by bisection towards the image.

        Args:
            image: float32 array.
            candidate: float32 array like it.
            goal: `Goal`.
            longest: float, distance that is allowed.

        Returns:
            (image that reaches the goal, image with the answer of another class), float32 arrays,
            or None where there is none.
        """
        segment = Segment(image, candidate, longest)
        if goal.target is not None:
            share = self._confirmed(segment, goal.changed, _SHARES, self._strict_alpha)
            found = None if share is None else segment.point(share)
            return found, found
        reached = self._confirmed(segment, goal.reached, _SHARES, self._alpha)
        shares = _SHARES
        if reached is not None:
            shares = [reached, *(reached * factor for factor in _BEYOND)]
        changed = self._confirmed(segment, goal.changed, shares, self._strict_alpha)
        # The search for another class has samples of its own, and may end nearer.
        if reached is None or (changed is not None and changed < reached):
            reached = changed
        return tuple(None if end is None else segment.point(end) for end in (reached, changed))

    def _confirmed(self, segment, wanted, shares, alpha):
        """Returns a share of a segment at which fresh samples say what is wanted, or None.

        A line search with a fifth of the samples, as if all voted as these do, says where to ask.

        Args:
            segment: `Segment`.
            wanted: function of an answer that returns a bool.
            shares: ascending shares to begin with.
            alpha: float.
        """
        samples = max(1, self._n // _SEARCH_SHARE)
        times = self._n // samples

        def seems(point):
            counts = self._counts(point, samples, random_streams.ATTACK)
            return wanted(predicted_label(times * counts, times * samples, alpha))

        ends = segment.first_success(seems, shares)
        if ends is None:
            return None
        share = segment.bisected(seems, *ends, _EVALUATIONS, _TOLERANCE)
        for factor in _FURTHER:
            if not segment.allows(share * factor):
                return None
            if wanted(self._answer(segment.point(share * factor), alpha)):
                return share * factor
        return None

    def depend_on_batch(self, images):
        """Returns which images have other latents together than alone, bool [images].

        Args:
            images: float32 array [images, height, width, channels].
        """
        together = self.classifier.encoder(tf.constant(images, tf.float64), training=False)
        alone = [
            self.classifier.encoder(tf.constant(image[np.newaxis], tf.float64), training=False)[0]
            for image in images
        ]
        return rows_differ(together.numpy(), np.stack(alone))
