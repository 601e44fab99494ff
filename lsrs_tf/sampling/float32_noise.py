import numpy as np
import tensorflow as tf

from lsrs_tf.sampling import random_streams


class Float32Noise:
    """Gaussian noise in float32, as it is customary.

    Its rounding, that of the latent and that of their sum are not in the certificates.

    Args:
        sigma: float above 0, standard deviation.
        latent_shape: tuple, the static shape of one latent.

    Attributes:
        name: 'float32'.
        compiles: bool, whether draws may be compiled by XLA.
        sigma: float, the standard deviation as the noise has it.
    """

    name = "float32"
    compiles = True

    def __init__(self, sigma, latent_shape):
        self.sigma = float(np.float32(sigma))
        self._latent_shape = latent_shape

    def prepared(self, latent):
        """Returns a float64 latent as the float32 one that noise is added to."""
        return tf.cast(latent, tf.float32)

    def draw(self, stream, first, samples):
        """Draws samples `first` to `first + samples - 1` of a stream.

        Args:
            stream: uint64 tensor [3], see `random_streams.stream`.
            first: int64 scalar tensor, number of the first sample.
            samples: int or int64 scalar tensor, how many.

        Returns:
            (noise float32 [samples, *latent shape], usable bool [samples]).
        """
        normal = random_streams.standard_normal(stream, first, samples, self._latent_shape)
        return self.sigma * normal, tf.ones(tf.shape(normal)[:1], tf.bool)

    def radius_loss(self, encoder_error):
        """Returns by how much a radius in the latent is lowered: not at all."""
        return 0.0
