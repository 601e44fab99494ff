import keras
import numpy as np

from lsrs_tf.layers import xla
from lsrs_tf.models.freezing import freeze_encoder


@keras.saving.register_keras_serializable("lsrs_tf")
class LatentSmoothingModel(keras.Model):
    """A classifier that is smoothed in its latent space (LS-RS paper, section 2.1).

    The encoder maps an image to a latent, Gaussian noise is added to the latent, and the head
    classifies it. Under training the noise is drawn anew for every image and step. In inference
    (`predict`, `evaluate`, calls with `training=False`) there is no noise: that is the base
    classifier, without any guarantee. Labels with a guarantee come from `lsrs_tf.certify` and
    `lsrs_tf.predict`.

    With an identity as encoder this is input space randomized smoothing (Cohen et al. 2019).

    Args:
        encoder: built Keras layer or (sequential or functional) model from images with pixels in
            [0, 1], `[batch, height, width, channels]`, to latents of any shape. For certificates
            `lsrs_tf.lipschitz_bound` must know all of its layers.
        head: built Keras layer or model from latents to logits `[batch, classes]`. It is free of
            any constraint, but at inference each row must depend on its own latent alone.
        sigma: float above 0, standard deviation of the noise, in units of the latent.
    """

    def __init__(self, encoder, head, sigma, **kwargs):
        super().__init__(**kwargs)
        for name, part in (("encoder", encoder), ("head", head)):
            if not isinstance(part, keras.Layer):
                raise ValueError(
                    f"Argument `{name}` of {type(self).__name__} must be a Keras layer or model. "
                    f"Received: {name}={part!r}"
                )
        if not (np.isscalar(sigma) and np.isfinite(sigma) and sigma > 0):
            raise ValueError(
                f"Argument `sigma` of {type(self).__name__} must be a number above 0, the standard "
                f"deviation of the noise in the latent. Received: sigma={sigma!r}"
            )
        self.encoder = encoder
        self.head = head
        self.sigma = float(sigma)
        self.noise = keras.layers.GaussianNoise(self.sigma)
        self.supports_jit = xla.worthwhile()
        if encoder.built and head.built:
            self.built = True

    def encode(self, images):
        """Maps images `[batch, height, width, channels]` to their latents, without noise."""
        return self.encoder(images)

    def classify(self, latents, training=False):
        """Maps latents, noisy or not, to logits `[batch, classes]`."""
        return self.head(latents, training=training)

    def call(self, inputs, training=False):
        """Returns the logits `[batch, classes]` of images; only training adds noise."""
        latents = self.noise(self.encoder(inputs, training=training), training=training)
        return self.classify(latents, training=training)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the logits."""
        return self.head.compute_output_shape(self.encoder.compute_output_shape(input_shape))

    def freeze_encoder(self):
        """Returns the float64 encoder that certificates and exports use.

        It is a snapshot of the present weights; nothing that happens to the model later changes it.
        See `lsrs_tf.models.freezing.freeze_encoder`.
        """
        return freeze_encoder(self.encoder)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "head": keras.saving.serialize_keras_object(self.head),
            "sigma": self.sigma,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Returns the model that `get_config` described."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "head")
        }
        return cls(**{**config, **parts})
