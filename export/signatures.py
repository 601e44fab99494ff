"""The functions that an exported model serves.

They hold TensorFlow operations only, and no XLA unless the classifier was made with it, because a
stock server refuses it. Every input and output has a leading batch dimension, so that a server can
merge requests; no row depends on the others, so that merging changes nothing.

A row that cannot be certified (a pixel that is not in [0, 1], an n above the limit, ...) is
answered by an abstention with `samples` 0, and leaves its neighbours alone. Tensors of a wrong
shape, or of different lengths, are errors.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import DTypeLike, NDArray

from export import graph_confidence
from export.radius_tests import RadiusTests
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.sampling import random_streams
from lsrs_tf.sampling.votes import votes_of
from lsrs_tf.statistics import confidence

# Outputs by their names.
Answer: TypeAlias = dict[str, tf.Tensor]
Endpoints: TypeAlias = dict[str, tuple[Callable[..., Answer], list[tf.TensorSpec]]]


def traced_function(function: Callable[..., Any], specs: list[tf.TensorSpec]) -> Callable[..., Any]:
    """Returns the graph of a function of tensors.

    Saving a `tf.function` traces it, and what it calls, a second time; saving a graph does not.
    """
    return tf.function(function, input_signature=specs, autograph=False).get_concrete_function()


def traced(endpoints: Endpoints) -> Endpoints:
    """Returns endpoints as graphs: each function is traced now, once for all that call it."""
    functions = dict(endpoints.values())
    graphs = {function: traced_function(function, specs) for function, specs in functions.items()}
    return {name: (graphs[function], specs) for name, (function, specs) in endpoints.items()}


class Signatures:
    """The served functions of one smoothed classifier.

    Args:
        certifier: `Certifier` with the n0, n and alpha of the export.
        radius_tests: `RadiusTests` of the same certifier.
        predict_n: int, noisy samples of `predict_smoothed`.
        max_n: int, the most samples that a request of `certify_with` may ask for.

    Attributes:
        predict_n: int.
        max_n: int.
        radii: list of floats, the radii that `certify_at` tests; others are rounded up to one.
    """

    def __init__(
        self,
        certifier: Certifier,
        radius_tests: RadiusTests,
        predict_n: int,
        max_n: int,
    ) -> None:
        self._certifier = certifier
        self._classifier = certifier.classifier
        self._head = certifier.classifier.head
        self._radius_tests = radius_tests
        self.predict_n = predict_n
        self.max_n = max_n
        self.radii = radius_tests.radii.tolist()
        n, alpha = certifier.settings.n, certifier.settings.alpha
        scale = certifier.classifier.radius_scale
        self._p_lower, self._radius = graph_confidence.certificates_of_hits(n, alpha, scale)
        self._least_majority = graph_confidence.least_majorities(predict_n, alpha)

    def endpoints(self) -> Endpoints:
        """Returns dict of name to (function, input signature), inputs with a leading batch."""
        images = tf.TensorSpec([None, *self._classifier.image_shape], tf.float32, name="images")
        latents = tf.TensorSpec([None, *self._classifier.latent_shape], tf.float32, name="latents")
        seed = tf.TensorSpec([None], tf.int64, name="seed")
        n = tf.TensorSpec([None], tf.int32, name="n")
        alpha = tf.TensorSpec([None], tf.float64, name="alpha")
        radius = tf.TensorSpec([None], tf.float32, name="radius")
        return {
            "serving_default": (self.predict_smoothed, [images]),
            "predict_smoothed": (self.predict_smoothed, [images]),
            "certify": (self.certify, [images]),
            "certify_with": (self.certify_with, [images, seed, n, alpha]),
            "certify_at": (self.certify_at, [images, radius]),
            "predict_clean": (self.predict_clean, [images]),
            "encode": (self.encode, [images]),
            "classify": (self.classify, [latents]),
        }

    def encode(self, images: tf.Tensor) -> Answer:
        """Maps images [batch, height, width, channels] to the latents that are certified."""
        latents = tf.map_fn(
            self._classifier.encode_in_graph,
            self._of_right_shape(images),
            fn_output_signature=tf.TensorSpec(self._classifier.latent_shape, tf.float32),
            parallel_iterations=1,
        )
        return {"latents": latents}

    def classify(self, latents: tf.Tensor) -> Answer:
        """Maps latents, noisy or not, to logits [batch, classes]."""
        shape = self._classifier.latent_shape
        latents = tf.ensure_shape(latents, [None, *shape])
        rows = tf.shape(latents)[0]
        # An empty batch gets a row: convolutions of none have a wrong shape on some processors.
        paddings = [[0, tf.maximum(0, 1 - rows)], *[[0, 0]] * len(shape)]
        # TensorFlow's stubs know paddings that are all numbers, or all one tensor.
        filled = tf.pad(latents, paddings)  # pyright: ignore[reportArgumentType]
        logits = self._head(filled, training=False)[:rows]
        return {"logits": self._per_class(tf.cast(logits, tf.float32))}

    def predict_clean(self, images: tf.Tensor) -> Answer:
        """Returns class and logits of the base classifier without noise; no certificate.

        Returns:
            dict of `label` int64 [batch], -1 where a pixel is NaN or outside [0, 1], and where the
            largest logit is tied or one is not finite; `logits` float32 [batch, classes], 0 for
            bad pixels.
        """

        def one_row(image):
            logits = self.classify(self._classifier.encode_in_graph(image)[tf.newaxis])["logits"][0]
            decided = tf.reduce_any(votes_of(logits))
            return tf.where(decided, tf.argmax(logits), -1), logits

        label, logits = self._each_row(
            one_row, images, [], (np.int64(-1), self._for_no_class(np.float32))
        )
        return {"label": label, "logits": self._per_class(logits)}

    def predict_smoothed(self, images: tf.Tensor) -> Answer:
        """Returns the label of the smoothed classifier, without a radius.

        With probability at least 1 - alpha it is that label, or -1, see `lsrs_tf.predict`.

        Returns:
            dict of `label` int64 [batch], -1 for abstention; `votes` int32 [batch, classes].
        """
        label, votes = self._each_row(
            self._predict_one,
            images,
            [_fresh_seeds(images)],
            (np.int64(-1), self._for_no_class(np.int32)),
        )
        return {"label": label, "votes": self._per_class(votes)}

    def certify(self, images: tf.Tensor) -> Answer:
        """Answers as `certify_with`, by the n0, n and alpha of the export and fresh noise."""
        return self._certificates(self._certify_one, images, [_fresh_seeds(images)])

    def certify_with(
        self, images: tf.Tensor, seed: tf.Tensor, n: tf.Tensor, alpha: tf.Tensor
    ) -> Answer:
        """Certifies images with given seeds, samples and error probabilities.

        For equal seeds the votes are those of `lsrs_tf.certify`.

        Args:
            images: float32 tensor [batch, height, width, channels] in [0, 1].
            seed: int64 tensor [batch]. Whoever knows it can choose an image to fit the noise.
            n: int32 tensor [batch], estimation samples, 1 to the limit of the export.
            alpha: float64 tensor [batch], 1e-100 to below 1.

        Returns:
            dict of `label` int64 [batch], -1 for abstention; `radius` float32 [batch], L2 radius in
            units of pixels, rounded down, 0 for abstention; `p_lower` float32 [batch]; `votes`
            int32 [batch, classes]; `samples` int32 [batch], those of the selection included, 0
            where the row was refused.
        """
        # Comparisons with NaN are false.
        valid = (n >= 1) & (n <= self.max_n)
        valid &= (alpha >= confidence.SMALLEST_ALPHA) & (alpha < 1)
        return self._certificates(self._certify_one_with, images, [seed, n, alpha], valid)

    def certify_at(self, images: tf.Tensor, radius: tf.Tensor) -> Answer:
        """Tests whether labels are certain up to given radii, with as few samples as it takes.

        Args:
            images: float32 tensor [batch, height, width, channels] in [0, 1].
            radius: float32 tensor [batch], L2 radii in units of pixels, at least 0.

        Returns:
            dict of `robust` bool [batch]; `label` int64 [batch], -1 where it is not robust;
            `samples` int32 [batch], 0 where the row was refused.
        """
        return self.certify_at_with(images, _fresh_seeds(images), radius)

    def certify_at_with(self, images: tf.Tensor, seed: tf.Tensor, radius: tf.Tensor) -> Answer:
        """Answers `certify_at` with given seeds, int64 tensor [batch]; rows share passes."""
        # Comparisons with NaN are false.
        valid = (radius >= 0) & (radius <= confidence.float32_below(self.radii[-1]))
        valid = self._valid_rows(images, [seed, radius], valid)
        tests = self._radius_tests
        latents, streams = self._each_valid_row(
            tests.prepared, images, [seed], tests.unprepared(), valid
        )
        levels = tests.levels(tf.where(valid, radius, 0.0))
        robust, label, samples = tests.settle(latents, streams, levels, valid)
        return {"robust": robust, "label": tf.where(robust, label, -1), "samples": samples}

    def _certificates(self, one_row, images, others, valid: tf.Tensor | bool = True) -> Answer:
        nothing = np.float32(0)
        refused = (np.int64(-1), nothing, nothing, self._for_no_class(np.int32), np.int32(0))
        label, radius, p_lower, votes, samples = self._each_row(
            one_row, images, others, refused, valid
        )
        return {
            "label": label,
            "radius": radius,
            "p_lower": p_lower,
            "votes": self._per_class(votes),
            "samples": samples,
        }

    def _each_row(self, one_row, images, others, refused, valid: tf.Tensor | bool = True):
        """Applies a function to valid rows, one after the other.

        Args:
            one_row: function of (image, *others) that returns a tuple of tensors.
            images: float32 tensor [batch, height, width, channels].
            others: list of tensors [batch].
            refused: tuple of arrays, the answer to rows with a bad pixel and those not valid.
            valid: bool tensor [batch], or True.
        """
        valid = self._valid_rows(images, others, valid)
        return self._each_valid_row(one_row, images, others, refused, valid)

    def _valid_rows(self, images, others, valid: tf.Tensor | bool) -> tf.Tensor:
        """Returns which rows are valid and have no bad pixel; raises unless all are as many."""
        images = self._of_right_shape(images)
        lengths = [
            tf.debugging.assert_equal(
                tf.shape(other)[0],
                tf.shape(images)[0],
                message="All inputs must have as many rows as there are images.",
            )
            for other in others
        ]
        with tf.control_dependencies(lengths):
            # Comparisons with NaN are false.
            return valid & tf.reduce_all((images >= 0) & (images <= 1), axis=[1, 2, 3])

    def _each_valid_row(self, one_row, images, others, refused, valid: tf.Tensor):
        return tf.map_fn(
            lambda row: tf.cond(
                row[0], lambda: one_row(*row[1:]), lambda: tuple(map(tf.constant, refused))
            ),
            (valid, self._of_right_shape(images), *others),
            fn_output_signature=tuple(
                tf.TensorSpec(np.shape(value), value.dtype) for value in refused
            ),
            parallel_iterations=1,
        )

    def _of_right_shape(self, images):
        return tf.ensure_shape(images, [None, *self._classifier.image_shape])

    def _for_no_class(self, dtype: DTypeLike) -> NDArray:
        return np.zeros(self._classifier.num_classes, dtype)

    def _per_class(self, values):
        return tf.ensure_shape(values, [None, self._classifier.num_classes])

    def _predict_one(self, image, seed):
        (votes,) = self._count(image, seed, [(random_streams.PREDICTION, self.predict_n)])
        label = graph_confidence.predicted_label(votes, self._least_majority)
        return label, tf.cast(votes, tf.int32)

    def _certify_one(self, image, seed):
        n = tf.constant(self._certifier.settings.n)
        label, hits, votes, samples = self._select_and_count(image, seed, n)
        radius = tf.gather(tf.constant(self._radius), hits)
        p_lower = tf.gather(tf.constant(self._p_lower), hits)
        return tf.where(radius > 0, label, -1), radius, p_lower, votes, samples

    def _certify_one_with(self, image, seed, n, alpha):
        label, hits, votes, samples = self._select_and_count(image, seed, n)
        p_lower = graph_confidence.lower_confidence_bound(hits, n, alpha)
        radius = graph_confidence.certified_radius(p_lower, self._classifier.radius_scale)
        radius, p_lower = map(graph_confidence.float32_below, (radius, p_lower))
        return tf.where(radius > 0, label, -1), radius, p_lower, votes, samples

    def _select_and_count(self, image, seed, n):
        """Returns (label, its hits, votes, samples) of one image."""
        n0 = self._certifier.settings.n0
        stages = [(random_streams.SELECTION, n0), (random_streams.ESTIMATION, n)]
        selection, votes = self._count(image, seed, stages)
        label = tf.argmax(selection)
        return label, votes[label], tf.cast(votes, tf.int32), n0 + n

    def _count(self, image, seed, purposes_and_samples):
        """Returns the votes of one image for each purpose."""
        latent = self._classifier.encode_in_graph(image)
        return [
            self._classifier.graph.sample_counts(image, latent, seed, purpose, samples)
            for purpose, samples in purposes_and_samples
        ]


def _fresh_seeds(images):
    # A random operation with a state would repeat its numbers after every start of the server.
    return tf.raw_ops.NonDeterministicInts(
        shape=tf.shape(images, out_type=tf.int64)[:1], dtype=tf.int64
    )
