"""What all objectives share: the encoder runs once, and the head on several noises."""

from typing import Any, Self

import keras
import tensorflow as tf

from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.number_kinds import count_from_one


class Objective:
    """What a step of the training minimizes. A subclass implements `loss_and_logits`."""

    def check_model(self, model: LatentSmoothingModel, loss: Any) -> None:
        """Raises ValueError if a model, compiled with a loss, cannot be trained like this."""

    def loss_and_logits(
        self,
        model: LatentSmoothingModel,
        images: tf.Tensor,
        labels: tf.Tensor,
        sample_weight: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss of a batch in training, and logits for the metrics.

        Args:
            model: the compiled `LatentSmoothingModel` that is trained.
            images: tensor [batch, height, width, channels].
            labels: tensor of the true classes, [batch] or [batch, 1].
            sample_weight: tensor [batch] or [batch, 1], or None.

        Returns:
            (scalar, regularization included, to be summed over the replicas of a
            `tf.distribute.Strategy`; logits [batch, classes]).
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns the objective that `get_config` described."""
        return cls(**config)


class LatentObjective(Objective):
    """Objective of cross-entropies of noisy latents. A subclass implements `losses_of_latents`.

    The model is compiled with the cross-entropy of integer labels, which `evaluate` reports.

    Args:
        noises: int of at least 1, noises of each image and step.
    """

    def __init__(self, noises: int) -> None:
        self.noises = count_from_one(noises, "noises", type(self).__name__)

    def check_model(self, model: LatentSmoothingModel, loss: Any) -> None:
        """Raises ValueError if there is no noise, or the loss is not the usual cross-entropy."""
        name = type(self).__name__
        if model.sigma == 0:
            raise ValueError(
                f"{name} trains the votes of noisy latents, but the model has none. Give the model "
                "a `sigma` above 0, or train it with training.Gaussian(). Received: sigma=0.0"
            )
        crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        given = loss.get_config() if type(loss) is type(crossentropy) else None
        if given is None or {**given, "name": None} != {**crossentropy.get_config(), "name": None}:
            raise ValueError(
                f"{name} is made of cross-entropies, and needs a model that is compiled with "
                "keras.losses.SparseCategoricalCrossentropy(from_logits=True), without further "
                "arguments. Other losses train with training.Gaussian(). "
                f"Received: loss={loss!r}{'' if given is None else f' of {given}'}"
            )

    def loss_and_logits(
        self,
        model: LatentSmoothingModel,
        images: tf.Tensor,
        labels: tf.Tensor,
        sample_weight: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the mean loss of a batch, and logits; see `Objective`."""
        latents = model.encoder(images, training=True)
        labels = tf.cast(tf.reshape(labels, [-1]), tf.int32)
        losses, logits = self.losses_of_latents(model, latents, labels)
        if sample_weight is not None:
            losses *= tf.cast(tf.reshape(sample_weight, [-1]), losses.dtype)
        loss = tf.reduce_mean(losses)
        for other in model.losses:
            loss += tf.cast(tf.reduce_sum(other), loss.dtype)
        return loss / tf.distribute.get_strategy().num_replicas_in_sync, logits

    def losses_of_latents(
        self, model: LatentSmoothingModel, latents: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns (losses [batch], logits [batch, classes] for the metrics).

        Args:
            model: the `LatentSmoothingModel` that is trained.
            latents: tensor [batch, ...].
            labels: int32 tensor [batch].
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "noises": self.noises}


def repeated(values: tf.Tensor, noises: int) -> tf.Tensor:
    """Returns a batch as many times as there are noises, [noises * batch, ...]."""
    return tf.tile(values, [noises] + [1] * (len(values.shape) - 1))


def noise_of(model: LatentSmoothingModel, latents: tf.Tensor) -> tf.Tensor:
    """Draws the noise of latents from the random stream of a model."""
    noise = model.noise(keras.ops.zeros_like(latents), training=True)
    return model.sigma * tf.cast(noise, latents.dtype)


def logits_of(model: LatentSmoothingModel, latents: tf.Tensor, training: bool) -> tf.Tensor:
    """Returns the logits of noisy latents, of at least float32."""
    logits = model.head(latents, training=training)
    return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)


def of_each_noise(values: tf.Tensor, noises: int) -> tf.Tensor:
    """Returns values [noises * batch, ...] as [noises, batch, ...]."""
    return tf.reshape(values, tf.concat([[noises, -1], tf.shape(values)[1:]], axis=0))


def crossentropies(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropies [noises, batch].

    Args:
        labels: int32 tensor [batch].
        logits: tensor [noises, batch, classes].
    """
    labels = tf.broadcast_to(labels[tf.newaxis], tf.shape(logits)[:2])
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def log_mean_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Returns the logarithms [batch, classes] of the mean probabilities over noises.

    Args:
        logits: tensor [noises, batch, classes].
    """
    number = tf.math.log(tf.cast(tf.shape(logits)[0], logits.dtype))
    return tf.reduce_logsumexp(tf.nn.log_softmax(logits), axis=0) - number


def divergences(log_targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns KL(target || p) [noises, batch] for the probabilities p of noisy latents.

    Args:
        log_targets: tensor [batch, classes], logarithms of probabilities.
        logits: tensor [noises, batch, classes].
    """
    gaps = log_targets[tf.newaxis] - tf.nn.log_softmax(logits)
    return tf.reduce_sum(tf.exp(log_targets)[tf.newaxis] * gaps, axis=-1)
