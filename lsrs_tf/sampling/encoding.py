"""Latents of images, encoded alone or several at a time, to the same bits."""

import numpy as np
import tensorflow as tf

from lsrs_tf import layers
from lsrs_tf.numerics.few_images import FEW

# Encoders of fewer bytes encode an image in about a millisecond; tracing another graph and checking
# it takes much longer.
_LEAST_BYTES = 2**22
# Four numbers of float64 are what TensorFlow's kernels for a CPU treat as one.
_TOGETHER = 4
# Where spectra are evaluated anew, which takes far longer than to apply them.
_TOGETHER_OF_LARGE = FEW


class LatentEncoder:
    """Encodes images, each to the latent that it has alone.

    What an image is encoded to alone, in a batch of one, is its latent. Several images share the
    weights that are read, and the spectra that are evaluated anew, in batches of one size; where
    fewer are waiting, copies of the last one fill the batch. Convolutions with a spectrum treat
    images one by one in such batches (see `lsrs_tf.numerics.few_images`), and so do activations.
    That a network gives the same bits on this machine is checked before the first batch, in
    float64, at every place; otherwise every image is encoded alone.

    Args:
        encoder: frozen functional Keras model from images to float64 latents, all shapes known.
        prepared: function of a float64 latent, as a graph has it, that returns the float32 one.

    Attributes:
        images_together: int, images that are worth waiting for; 1 where it pays to encode alone.
    """

    def __init__(self, encoder, prepared):
        self._encoder = encoder
        self._prepared = prepared
        self._image_shape = tuple(encoder.inputs[0].shape[1:])
        self._alone = self._traced(1)
        self._batched = None
        self.images_together = _worthwhile_together(encoder)

    def encode(self, image):
        """Returns the float32 latent of one checked image, a tensor.

        Raises:
            ValueError: if it has values that are not finite, of which nothing is certain.
        """
        (latent,), _ = self._alone(tf.convert_to_tensor(image, tf.float32)[tf.newaxis])
        return _checked(latent)

    def encode_each(self, images):
        """Returns the float32 latents of checked images, a list of tensors in their order.

        Args:
            images: list of float32 arrays or tensors, any number of them.

        Raises:
            ValueError: as `encode`, if that holds for one of the images.
        """
        size = self.images_together
        latents = []
        for first in range(0, len(images), size):
            latents += self._encoded(images[first : first + size])
        return latents

    def _encoded(self, images):
        """Returns the latents of `images_together` images or fewer."""
        # A batch costs no less for holding copies.
        few = len(images) == 1 or 4 * len(images) < self.images_together
        if few or not self._batches_are_checked():
            return [self.encode(image) for image in images]
        filled = [*images, *[images[-1]] * (self.images_together - len(images))]
        batch = tf.stack([tf.convert_to_tensor(image, tf.float32) for image in filled])
        latents, _ = self._batched(batch)
        return [_checked(latent) for latent in latents[: len(images)]]

    def warm_up(self):
        """Traces and checks batches, unless a single evaluation takes long."""
        if self.images_together <= _TOGETHER:
            self._batches_are_checked()

    def _batches_are_checked(self):
        """Returns whether batches give the bits of images alone.

        If they do not, nothing is encoded in batches any more. The first call takes as long as a
        few evaluations.
        """
        if self._batched is None and self.images_together > 1:
            batched = self._traced(self.images_together)
            # Kept after the check alone, which may be interrupted.
            if self._is_as_alone(batched):
                self._batched = batched
            else:
                self.images_together = 1
        return self.images_together > 1

    def _is_as_alone(self, batched):
        """Returns whether a function of a batch gives every image the bits that it has alone."""
        shape = (self.images_together, *self._image_shape)
        others = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
        image = np.random.default_rng(1).uniform(size=shape[1:]).astype(np.float32)
        _, expected = self._alone(tf.constant(image[np.newaxis]))
        # One image at half of the places, among images that differ, and then at the other half.
        for parity in range(2):
            places = np.arange(len(others)) % 2 == parity
            batch = others.copy()
            batch[places] = image
            _, found = batched(tf.constant(batch))
            same = np.broadcast_to(expected, found[places].shape)
            # Before they are rounded to float32, which would hide a difference of most images.
            if not np.array_equal(found[places], same, equal_nan=True):
                return False
        return True

    def in_graph(self, image):
        """Returns the float32 latent of one image, a tensor, within a graph."""
        return self._latents(image[tf.newaxis])[0][0]

    def _latents(self, images):
        """Returns latents in float32, and as they are before they are rounded."""
        latents = self._encoder(images, training=False)
        return [self._prepared(latent) for latent in tf.unstack(latents)], latents

    def _traced(self, rows):
        return tf.function(self._latents, autograph=False).get_concrete_function(
            tf.TensorSpec([rows, *self._image_shape], tf.float32)
        )


def _checked(latent):
    if not np.all(np.isfinite(latent)):
        raise ValueError(
            "The encoder gives values that are not finite for an image, so that nothing can be "
            "certified. Load weights from before training diverged."
        )
    return latent


def _worthwhile_together(encoder):
    """Returns how many images are worth being encoded together."""
    parts = encoder._flatten_layers()
    if any(isinstance(part, layers.LipschitzConv2D) and _is_large(part) for part in parts):
        return _TOGETHER_OF_LARGE
    size = sum(np.prod(weight.shape) * tf.as_dtype(weight.dtype).size for weight in encoder.weights)
    return _TOGETHER if size >= _LEAST_BYTES else 1


def _is_large(layer):
    return not layer.is_pointwise and layer.spectrum_is_large("float64")
