"""The functions that an exported model serves.

They hold TensorFlow operations only, and no XLA, which a stock server refuses.
"""

import numpy as np
import tensorflow as tf

from lsrs_tf.smoothing import confidence, noise


class Signatures:
    """The served functions of one smoothed classifier.

    Args:
        certifier: `lsrs_tf.smoothing.certifier.Certifier` whose classifier was made without XLA.
        head: the model's head.
    """

    def __init__(self, certifier, head):
        self._certifier = certifier
        self._classifier = certifier.classifier
        self._head = head
        self._p_lower, self._radius = _tables(certifier)

    def endpoints(self):
        """Returns dict of name to (function, input signature), inputs with a leading batch."""
        images = tf.TensorSpec([None, *self._classifier.image_shape], tf.float32, name="images")
        latents = tf.TensorSpec([None, *self._classifier.latent_shape], tf.float32, name="latents")
        seed = tf.TensorSpec([None], tf.int64, name="seed")
        return {
            "serving_default": (self.certify, [images]),
            "certify": (self.certify, [images]),
            "certify_with": (self.certify_with, [images, seed]),
            "encode": (self.encode, [images]),
            "classify": (self.classify, [latents]),
        }

    def encode(self, images):
        """Maps images [batch, height, width, channels] to the latents that are certified."""
        latents = tf.map_fn(
            self._classifier.latent,
            images,
            fn_output_signature=tf.TensorSpec(self._classifier.latent_shape, tf.float32),
            parallel_iterations=1,
        )
        return {"latents": latents}

    def classify(self, latents):
        """Maps latents, noisy or not, to logits [batch, classes]."""
        return {"logits": tf.cast(self._head(latents, training=False), tf.float32)}

    def certify(self, images):
        """Certifies images with noise that is fresh for every request; see `certify_with`."""
        # A random operation with a state would repeat its numbers after every start of the server.
        seed = tf.raw_ops.NonDeterministicInts(
            shape=tf.shape(images, out_type=tf.int64)[:1], dtype=tf.int64
        )
        return self.certify_with(images, seed)

    def certify_with(self, images, seed):
        """Certifies images with given seeds, one for each image.

        An image with a pixel that is NaN or outside [0, 1] gets an abstention; the others in the
        batch are not touched by it.

        Args:
            images: float32 tensor [batch, height, width, channels] in [0, 1].
            seed: int64 tensor [batch].

        Returns:
            dict of `label` int64 [batch], -1 for abstention; `radius` float32 [batch], L2 radius in
            units of pixels, rounded down, 0 for abstention; `p_lower` float32 [batch]; `votes`
            int32 [batch, classes]; `samples` int32 [batch].
        """
        label, radius, p_lower, votes = tf.map_fn(
            lambda row: self._certify_one(*row),
            (images, seed),
            fn_output_signature=(tf.int64, tf.float32, tf.float32, tf.int32),
            parallel_iterations=1,
        )
        return {
            "label": label,
            "radius": radius,
            "p_lower": p_lower,
            "votes": tf.ensure_shape(votes, [None, self._classifier.num_classes]),
            "samples": tf.fill(tf.shape(label), self._certifier.n),
        }

    def _certify_one(self, image, seed):
        certifier, classifier = self._certifier, self._classifier
        # Comparisons with NaN are false.
        valid = tf.reduce_all((image >= 0) & (image <= 1))
        latent = classifier.latent(image)
        selection = classifier.votes(image, latent, seed, noise.SELECTION, certifier.n0)
        votes = classifier.votes(image, latent, seed, noise.ESTIMATION, certifier.n)
        label = tf.argmax(selection)
        hits = tf.where(valid, votes[label], 0)
        radius = tf.constant(self._radius)[hits]
        return (
            tf.where(radius > 0, label, -1),
            radius,
            tf.constant(self._p_lower)[hits],
            tf.cast(votes, tf.int32),
        )


def _tables(certifier):
    """Returns lower bound and radius for every number of hits from 0 to n, as float32 arrays.

    n and alpha are fixed, so that a table holds the very numbers of `lsrs_tf.certify`, rounded
    down. A quantile computed in the graph could fail to converge unseen.
    """
    p_lower = np.zeros(certifier.n + 1, np.float32)
    radius = np.zeros(certifier.n + 1, np.float32)
    for hits in range(certifier.n + 1):
        bound = confidence.lower_confidence_bound(hits, certifier.n, certifier.alpha)
        p_lower[hits] = confidence.float32_below(bound)
        radius[hits] = confidence.float32_below(
            confidence.certified_radius(
                bound, certifier.classifier.sigma, certifier.classifier.lipschitz
            )
        )
    return p_lower, radius
