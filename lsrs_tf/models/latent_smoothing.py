from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.lipschitz import bounded_by_encoder
from lsrs_tf.models.freezing import freeze_encoder
from lsrs_tf.models.replica_noise import ReplicaNoise
from lsrs_tf.number_kinds import is_real_number
from lsrs_tf.numerics import precision


def checked_sigma(sigma: float) -> float:
    """Returns sigma, or raises if it is not a standard deviation that float32 noise can have.

    0 stands for no noise, in training too.
    """
    with np.errstate(over="ignore"):
        rounded = np.float32(sigma) if is_real_number(sigma) else np.float32(-1)
    if not (np.isfinite(rounded) and (rounded > 0 or sigma == 0)):
        raise ValueError(
            "`sigma` must be a number above 0, the standard deviation of the noise in the latent, "
            f"or 0 for a model without noise. Received: sigma={sigma!r}"
        )
    return sigma


def checked_noise_sigma(sigma: float) -> float:
    """Returns sigma, or raises if there is no noise of this standard deviation to smooth with."""
    if checked_sigma(sigma) == 0:
        raise ValueError(
            "A model with sigma=0 has no noise, and there is nothing to smooth. Certify it with "
            "method='margin', or give the `sigma` of the noise. Received: sigma=0"
        )
    return sigma


@keras.saving.register_keras_serializable("lsrs_tf")
class LatentSmoothingModel(keras.Model):
    """A classifier that is smoothed in its latent space (LS-RS paper, section 2.1).

    The encoder maps an image to a latent, Gaussian noise is added to the latent, and the head
    classifies it. In training, fresh noise is drawn for every image and step. In inference
    (`predict`, `evaluate`, calls with `training=False`) there is no noise: that is the base
    classifier, without any guarantee. Labels with a guarantee come from `lsrs_tf.certify` and
    `lsrs_tf.predict`.

    With an identity as encoder this is input space randomized smoothing (Cohen et al. 2019).

    What Keras exports (`model.export`, `tf.lite.TFLiteConverter.from_keras_model`) is the base
    classifier as well: logits without noise, and without any certificate. The command
    `experiments.export` writes a SavedModel that certifies. TensorFlow Lite cannot solve linear
    systems, as transforms of `OrthogonalConv2D` and `OrthogonalDense` do: convert the frozen
    encoder with the head instead, with `tf.lite.OpsSet.SELECT_TF_OPS` among its operations:

        images = keras.Input(model.encoder.input_shape[1:])
        latents = keras.ops.cast(model.freeze_encoder()(images), "float32")
        tf.lite.TFLiteConverter.from_keras_model(keras.Model(images, model.head(latents)))

    Args:
        encoder: built Keras layer or (sequential or functional) model from images with pixels in
            [0, 1], `[batch, height, width, channels]`, to latents of any shape. For certificates
            `lsrs_tf.lipschitz_bound` must know all of its layers.
        head: built Keras layer or model from latents to logits `[batch, classes]`. It is free of
            any constraint, but at inference each row must depend on its own latent alone.
        sigma: float, standard deviation of the noise, in units of the latent; 0 for a model that
            trains without noise, and is certified by its margins (`method="margin"`).

    Examples:
        >>> encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.OrthogonalConv2D(4, 3)])
        >>> head = keras.Sequential(
        ...     [keras.Input((8, 8, 4)), keras.layers.Flatten(), keras.layers.Dense(3)]
        ... )
        >>> model = models.LatentSmoothingModel(encoder, head, sigma=0.25)
        >>> model.predict(images, verbose=0).shape
        (4, 3)
    """

    def __init__(
        self, encoder: keras.Layer, head: keras.Layer, sigma: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for name, part in (("encoder", encoder), ("head", head)):
            if not isinstance(part, keras.Layer):
                raise ValueError(
                    f"Argument `{name}` of {type(self).__name__} must be a Keras layer or model. "
                    f"Received: {name}={part!r}"
                )
        _check_latents_fit(encoder, head)
        self.encoder = encoder
        self.head = head
        self.sigma = float(checked_sigma(sigma))
        self.objective = None
        # Of standard deviation 1, because Keras' layer takes none above that.
        self.noise = ReplicaNoise(1.0, dtype=self.dtype_policy)
        self.supports_jit = precision.xla_is_worthwhile()
        if encoder.built and head.built:
            self.built = True
            # What `build` would record, and Keras' exports read. It is not called, because it would
            # lock the model before a subclass has added what it needs.
            self._build_shapes_dict = _shapes_of_images(encoder)

    def build(self, input_shape):
        """Builds encoder and head for images `[batch, height, width, channels]`."""
        latent_shape = input_shape
        for part in (self.encoder, self.head):
            if not part.built:
                part.build(latent_shape)
            latent_shape = part.compute_output_shape(latent_shape)
        self.built = True

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """Maps images `[batch, height, width, channels]` to their latents, without noise."""
        return self.encoder(images)

    def classify(self, latents: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Maps latents, noisy or not, to logits `[batch, classes]`."""
        return self.head(latents, training=training)

    def call(self, inputs, training=False):
        """Returns the logits `[batch, classes]` of images; only training adds noise."""
        latents = self.encoder(inputs, training=training)
        if self.sigma == 0:
            return self.classify(latents, training=training)
        noise = self.noise(keras.ops.zeros_like(latents), training=training)
        return self.classify(latents + self.sigma * noise, training=training)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the logits."""
        return self.head.compute_output_shape(self.encoder.compute_output_shape(input_shape))

    def compile(self, optimizer="rmsprop", loss=None, *args, objective=None, **kwargs):
        """Configures the training; for further arguments see `keras.Model`.

        A loss that reads weights of the model, one of `lsrs_tf.losses`, is bound to this model: it
        has a method `bind`, which returns the loss to train with.

        Args:
            optimizer: see `keras.Model`.
            loss: see `keras.Model`.
            *args: see `keras.Model`.
            objective: one of `lsrs_tf.training`, what a step of the training minimizes; None is the
                loss of images with one noise each, as `lsrs_tf.training.Gaussian`.
            **kwargs: see `keras.Model`.
        """
        if objective is not None:
            if isinstance(objective, type) or not hasattr(objective, "loss_and_logits"):
                raise ValueError(
                    "Argument `objective` must be an object of lsrs_tf.training, such as "
                    f"training.Consistency(), or None. Received: objective={objective!r}"
                )
            objective.check_model(self, loss)
        if loss is not None:
            loss = keras.tree.map_structure(self._bound_loss, loss)
        super().compile(optimizer, loss, *args, **kwargs)
        self.objective = objective

    def train_step(self, data):
        """Takes a step of the optimizer on a batch, and returns the metrics."""
        if self.objective is None:
            return super().train_step(data)
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss, logits = self.objective.loss_and_logits(self, images, labels, sample_weight)
            scaled_loss = self.optimizer.scale_loss(loss)
        weights = self.trainable_weights
        gradients = tape.gradient(scaled_loss, weights)
        self._check_gradients(dict(zip(map(id, weights), gradients, strict=True)))
        for metric in self.metrics:
            if metric.name == "loss":
                # The loss is a summand of that of all replicas.
                replicas = tf.distribute.get_strategy().num_replicas_in_sync
                metric.update_state(loss * replicas, sample_weight=tf.shape(logits)[0])
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return self.compute_metrics(images, labels, logits, sample_weight=sample_weight)

    def _check_gradients(self, gradients):
        trained = self.encoder.trainable_weights
        if trained and all(gradients[id(weight)] is None for weight in trained):
            raise ValueError(
                f"No gradient reaches the weights of the encoder '{self.encoder.name}'. One of its "
                "layers has none, tf.stop_gradient or rounding for instance. Remove it, or set "
                "`encoder.trainable = False` to train the head only."
            )

    def _bound_loss(self, loss):
        bind = getattr(loss, "bind", None)
        return loss if bind is None else bind(self)

    def get_compile_config(self):
        """Returns what the model was compiled with."""
        config = super().get_compile_config()
        if config and self.objective is not None:
            config["objective"] = keras.saving.serialize_keras_object(self.objective)
        return config

    def compile_from_config(self, config):
        """Compiles as the model that was saved had been compiled."""
        # Keras leaves this to classes that have a `compile` of their own.
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def export(self, filepath, *args, **kwargs):
        """Exports the base classifier, without a certificate; for arguments see `keras.Model`."""
        if self.built and self._build_shapes_dict:
            # Keras exports no model that has never been called.
            self(keras.KerasTensor(self._build_shapes_dict["input_shape"], self.input_dtype))
        return super().export(filepath, *args, **kwargs)

    def freeze_encoder(self) -> keras.Model:
        """Returns the float64 encoder that certificates and exports use.

        It is a snapshot of the present weights; nothing that happens to the model later changes it.
        See `lsrs_tf.models.freezing.freeze_encoder`.

        Examples:
            >>> frozen = model.freeze_encoder()
            >>> frozen(images).shape, frozen(images).dtype
            (TensorShape([4, 4, 4, 4]), tf.float64)
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


def _shapes_of_images(encoder):
    """Returns the shape of an encoder's images as Keras records it, or None if it has none."""
    shape = getattr(encoder, "input_shape", None)
    if not isinstance(shape, tuple):
        config = encoder.get_build_config() or {}
        shape = config.get("input_shape")
    return {"input_shape": (None, *shape[1:])} if isinstance(shape, tuple | list) else None


def _check_latents_fit(encoder, head):
    """Raises if a head takes other latents than the encoder gives; unknown shapes are let pass."""
    images = _shapes_of_images(encoder) if encoder.built else None
    expected = getattr(head, "input_shape", None) if head.built else None
    if images is None or not isinstance(expected, tuple):
        return
    try:
        latents = encoder.compute_output_shape(images["input_shape"])
    except NotImplementedError:
        return
    if not isinstance(latents, tuple) or not all(
        size is None or isinstance(size, int) for size in (*latents, *expected)
    ):
        return
    fits = len(latents) == len(expected) and all(
        None in sizes or sizes[0] == sizes[1]
        for sizes in zip(latents[1:], expected[1:], strict=True)
    )
    if not fits:
        raise ValueError(
            "The head must take the latents of the encoder. Received: an encoder whose output "
            f"shape is {latents}, and a head whose input shape is {expected}. Build the head with "
            f"keras.Input({latents[1:]})."
        )


def smoothed_parts(model: keras.Model) -> tuple[keras.Layer, keras.Layer]:
    """Returns encoder and head of a model, if these are all that it computes.

    Args:
        model: a `LatentSmoothingModel`, or one of a subclass that trains differently.

    Returns:
        (encoder, head).

    Raises:
        ValueError: if the model is something else, or a subclass that changed what is computed
            between pixels and logits, so that a certificate would be that of another classifier.
    """
    if not isinstance(model, LatentSmoothingModel):
        raise ValueError(
            "A smoothed classifier needs a lsrs_tf.models.LatentSmoothingModel. Received: "
            f"{type(model).__name__}. Wrap your encoder and head in one."
        )
    for name in ("call", "encode", "classify", "freeze_encoder"):
        changed = getattr(type(model), name) is not getattr(LatentSmoothingModel, name)
        if changed or name in vars(model):
            raise ValueError(
                f"{type(model).__name__} changes `{name}` of LatentSmoothingModel: a certificate "
                "of its encoder and head would not be one of what it computes. Put the change into "
                "the encoder or the head."
            )
    return model.encoder, model.head


bounded_by_encoder(LatentSmoothingModel, lambda model: smoothed_parts(model)[0])
