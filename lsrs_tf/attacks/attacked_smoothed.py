"""The smoothed classifier, as attacks see it."""

import hashlib
import math

import numpy as np
import tensorflow as tf

from lsrs_tf.attacks.attacked_base import rows_differ
from lsrs_tf.attacks.goal import Goal
from lsrs_tf.attacks.line_search import MORE_STARTS, Segment
from lsrs_tf.attacks.vote_search import ASKED, Turn, VoteSearch
from lsrs_tf.sampling import random_streams
from lsrs_tf.sampling.cast_head import copied
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier
from lsrs_tf.statistics.confidence import check_alpha, checked_count, predicted_label

# How far latents in float32 may be from those in float64, in standard deviations of the noise.
_ROUNDING_SHARE = 0.01
# Votes that are remembered: those for the original and for what was found are asked for again.
_REMEMBERED = 256


class AttackedSmoothed:
    """The smoothed classifier: soft votes with gradients, and answers as `predict` gives them.

    Scores are logarithms of the mean softmax over draws of the noise that stay the same in all
    steps, as in Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed
    Classifiers" (2019), equation 6. The noise is in the latent, so that the encoder runs once for
    all draws, forwards and backwards.

    They only say where to search, so that the encoder of scores is a copy of the frozen one in
    float32, which takes half the time; where it gives an image another latent, it is the frozen one
    itself.

    Answers come from samples of their own (`random_streams.PREDICTION`), which depend on the image
    that is asked about: they are those of `lsrs_tf.predict` with the same seed, n and alpha, from
    the frozen encoder in float64. The line search looks at points with the samples of one pass, of
    the attack's own stream, and its result counts only if the answer agrees. At most five points of
    each start are asked; that an image is found to have another class is decided at an alpha
    divided by their number, so that it is wrong with probability alpha at most.

    Args:
        model: built `LatentSmoothingModel`, or a `SmoothedClassifier`.
        sigma: float above 0, or None for the model's.
        draws: int, draws of the noise for gradients.
        n: int, samples of an answer.
        alpha: float in (0, 1), probability that an answer is wrong.
        head_dtype: 'bfloat16' for the head cast to it, or None; a `SmoothedClassifier` has its own.
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

    def __init__(
        self,
        model,
        *,
        sigma=None,
        draws=32,
        n=1_000,
        alpha=0.001,
        head_dtype=None,
        seed=0,
        starts=1,
    ):
        if isinstance(model, SmoothedClassifier):
            self.classifier = model
        else:
            self.classifier = SmoothedClassifier(model, sigma, head_dtype=head_dtype)
        self._draws = checked_count(draws, "draws")
        self._n, self._alpha = checked_count(n, "n"), check_alpha(alpha)
        # The starts that are given instead of failed ones are among them.
        self._strict_alpha = self._alpha / (ASKED * (starts + MORE_STARTS))
        if predicted_label(np.array([n, 0]), n, self._strict_alpha) != 0:
            raise ValueError(
                f"With n={n} samples no image can be found to have another class at alpha={alpha}, "
                "not even when all of them agree. Use more samples (1,000 is customary)."
            )
        self._seed = seed
        self._votes = {}
        self.image_shape = self.classifier.image_shape
        self._search_encoder = copied(
            self.classifier.encoder, lambda layer: "float32", self.image_shape
        )
        self.num_classes = self.classifier.num_classes
        self.batch_size = max(1, 256 // self._draws)

    def scores_of(self, images, again):
        """Returns the function of scores for a search: `scores`, or the same in float64.

        Args:
            images: float64 tensor [images, height, width, channels], the images to attack.
            again: bool, whether an earlier search met values that were not finite.
        """
        rounded = self._search_encoder(tf.cast(images, tf.float32), training=False)
        exact = self.classifier.encoder(images, training=False)
        errors = tf.norm(
            tf.reshape(tf.cast(rounded, tf.float64) - exact, [len(images), -1]), axis=1
        )
        # Comparisons with NaN are false.
        near = np.all(errors <= _ROUNDING_SHARE * self.classifier.radius_scale.sigma)
        return self.scores if near and not again else self.exact_scores

    def scores(self, images, draws):
        """Returns logarithms of soft votes, float64 [images, classes]; used in graphs.

        Args:
            images: float64 tensor [images, height, width, channels].
            draws: float32 tensor [images, draws, *latent shape].
        """
        return self._soft_votes(
            self._search_encoder(tf.cast(images, tf.float32), training=False), draws
        )

    def exact_scores(self, images, draws):
        """Returns `scores` with latents of the frozen encoder in float64."""
        latents = self.classifier.encoder(images, training=False)
        return self._soft_votes(tf.cast(latents, tf.float32), draws)

    def _soft_votes(self, latents, draws):
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
            "head_dtype": self.classifier.head_dtype,
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
        return predicted_label(self._all_votes(image), self._n, self._alpha)

    def forget(self):
        """Forgets the votes that are remembered; they would be counted the same again."""
        self._votes.clear()

    def _all_votes(self, image):
        """Returns the votes of an answer, int64 array [classes]."""
        key = hashlib.blake2b(np.ascontiguousarray(image)).digest()
        if key not in self._votes:
            if len(self._votes) == _REMEMBERED:
                del self._votes[next(iter(self._votes))]
            self._votes[key] = self._counts(image, self._n, random_streams.PREDICTION)
        return self._votes[key]

    def _few_votes(self, image):
        """Returns the votes of one pass, which no answer takes, and how many samples they are."""
        samples = min(self._n, self.classifier.pass_size)
        return self._counts(image, samples, random_streams.ATTACK), samples

    def _counts(self, image, samples, purpose):
        latent = self.classifier.encode(image)
        (counts,) = self.classifier.count(image, latent, [(purpose, samples)], self._seed)
        return counts

    def nearest(self, image, candidate, goal: Goal, longest):
        """Tightens a candidate by a line search towards the image.

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
        search = VoteSearch(
            segment, self._few_votes, self._all_votes, self._n, self._all_votes(image)
        )
        reached = None
        if goal.target is None:
            reached = search.nearest(Turn(goal, self._alpha, abstains=True))
        changed = search.nearest(Turn(goal, self._strict_alpha, abstains=False))
        # The search for another class asks at points of its own, and may end nearer.
        if reached is None or (changed is not None and changed < reached):
            reached = changed
        return tuple(None if end is None else segment.point(end) for end in (reached, changed))

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
