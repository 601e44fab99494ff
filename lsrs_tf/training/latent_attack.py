"""Attacks on the head in the latent, which need no pass of the encoder."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.number_kinds import number_above_zero


def moved_by_ascent(
    start: tf.Tensor, losses: Callable[[tf.Tensor], tf.Tensor], radius: tf.Tensor, steps: int
) -> tf.Tensor:
    """Moves vectors within L2 balls so that losses grow, by normalized gradient ascent.

    Each step has the length `2 * radius / steps`, and is followed by the projection to the ball
    around the start. No gradient flows through the result.

    Args:
        start: tensor [batch, ...], the centres of the balls.
        losses: function of a tensor like `start`, whose sum grows.
        radius: scalar tensor of at least 0.
        steps: int.

    Returns:
        Tensor like `start`.
    """
    start = tf.stop_gradient(start)
    radius = tf.cast(radius, start.dtype)

    def step(change):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(change)
            total = tf.reduce_sum(losses(start + change))
        gradient = tape.gradient(total, change)
        if gradient is None:
            raise ValueError(
                "No gradient of the head reaches the latent, so that there is no attack. Remove "
                "the layer that stops it, or train with another objective."
            )
        # Where there is no gradient, nothing moves.
        change += 2 * radius / steps * tf.math.divide_no_nan(gradient, norms(gradient))
        return (change * tf.minimum(1.0, tf.math.divide_no_nan(radius, norms(change))),)

    (change,) = tf.while_loop(
        lambda change: True, step, (tf.zeros_like(start),), maximum_iterations=steps
    )
    return start + tf.stop_gradient(change)


def norms(values: tf.Tensor) -> tf.Tensor:
    """Returns the L2 norms of the rows of a tensor [batch, ...], as [batch, 1, ...]."""
    axes = list(range(1, len(values.shape)))
    return tf.sqrt(tf.reduce_sum(tf.square(values), axis=axes, keepdims=True))


def checked_radius(value: Any, objective: str) -> Any:
    """Returns the radius of an attack, or raises if it is neither a number nor a schedule."""
    if isinstance(value, dict):
        value = keras.optimizers.schedules.deserialize(value)
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return value
    return number_above_zero(value, "radius", objective)


def present_radius(radius: Any, model: LatentSmoothingModel) -> tf.Tensor:
    """Returns the radius at the present step of the optimizer of a compiled model."""
    if isinstance(radius, keras.optimizers.schedules.LearningRateSchedule):
        return tf.convert_to_tensor(radius(model.optimizer.iterations))
    return tf.constant(radius)


def radius_config(radius: Any) -> Any:
    """Returns what describes a radius in the configuration of an objective."""
    if isinstance(radius, keras.optimizers.schedules.LearningRateSchedule):
        return keras.optimizers.schedules.serialize(radius)
    return radius


def at_least_float32(latents: tf.Tensor) -> tf.Tensor:
    """Returns latents in float32 or float64: half precision would lose the steps of an attack."""
    return latents if latents.dtype == tf.float64 else tf.cast(latents, tf.float32)
