import math
from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.number_kinds import count_from_one, number_from_zero
from lsrs_tf.training.latent_attack import (
    at_least_float32,
    checked_radius,
    moved_by_ascent,
    present_radius,
    radius_config,
)
from lsrs_tf.training.objective import (
    LatentObjective,
    crossentropies,
    divergences,
    log_mean_probabilities,
    logits_of,
    noise_of,
    of_each_noise,
    repeated,
)


@keras.saving.register_keras_serializable("lsrs_tf")
class CATRS(LatentObjective):
    r"""Easy noises only where the classifier is not confident, the worst noise where it is.

    Source: Jeong, Kim and Shin, "Confidence-aware Training of Smoothed Classifiers for Certified
    Robustness" (2023), with noise and attack in the latent. For noise
    $\delta_i \sim N(0, \sigma^2 I)$, the probabilities $p(u) = \operatorname{softmax} h(u)$ of the
    head, and $\ell_{(1)} \le \dots \le \ell_{(m)}$, the cross-entropies of $p(g(x) + \delta_i)$ in
    order, it is

    $$\frac1m \sum_{k=1}^K \ell_{(k)} + \lambda\, 1[K = m]
    \max_i \max_{\lVert \delta_i^* - \delta_i \rVert \le \varepsilon}
    \operatorname{KL}(\hat p \,\|\, p(g(x) + \delta_i^*)), \qquad K \sim \max(1, B(m, a)).$$

    $a$ is the share of the noises at which the class is right, and $\hat p$ the mean of
    $p(g(x) + \delta_i)$. (The authors' code may read both from a classifier that was trained
    before, and restores mean and norm of a noise after every step of the attack.) The inner maximum
    is approached by projected gradient ascent with steps of $2 \varepsilon / T$, on the head in
    inference. No gradient flows through $\hat p$, $K$ and $\delta_i^*$. The encoder $g$ runs once.

    The paper has $m = 4$, $T = 4$, $\varepsilon = 1$, and on CIFAR-10 $\lambda$ of .5, 1 and 2 for
    $\sigma$ of .25, .5 and 1.

    Args:
        weight: float of at least 0, $\lambda$.
        radius: float above 0, or a `keras.optimizers.schedules.LearningRateSchedule` of one by the
            steps of the optimizer: $\varepsilon$, an L2 radius in the latent.
        steps: int of at least 1, $T$.
        noises: int of at least 1, $m$.

    Examples:
        >>> from lsrs_tf import models
        >>> model = models.convnet(width=2, num_classes=3)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile("sgd", loss, objective=CATRS(weight=0.5, steps=2))
        >>> history = model.fit(np.zeros((4, 8, 8, 1)), np.arange(4) % 3, verbose=0)
    """

    def __init__(
        self,
        weight: float = 0.5,
        radius: float | keras.optimizers.schedules.LearningRateSchedule = 1.0,
        steps: int = 4,
        noises: int = 4,
    ) -> None:
        super().__init__(noises)
        self.weight = number_from_zero(weight, "weight", type(self).__name__)
        self.radius = checked_radius(radius, type(self).__name__)
        self.steps = count_from_one(steps, "steps", type(self).__name__)

    def losses_of_latents(
        self, model: LatentSmoothingModel, latents: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns losses and logits of the first noise; see `LatentObjective`."""
        latents = repeated(at_least_float32(latents), self.noises)
        noise = tf.stop_gradient(noise_of(model, latents))

        def noisy_logits(noise, training):
            return of_each_noise(logits_of(model, latents + noise, training), self.noises)

        logits = noisy_logits(noise, training=True)
        is_easy = self._is_easy(model, logits, labels)
        all_losses = tf.sort(crossentropies(labels, logits), axis=0)
        losses = tf.reduce_mean(tf.where(is_easy, all_losses, tf.zeros_like(all_losses)), axis=0)
        if self.weight:
            target = tf.stop_gradient(log_mean_probabilities(logits))
            worst = moved_by_ascent(
                noise,
                lambda noise: divergences(target, noisy_logits(noise, training=False)),
                present_radius(self.radius, model),
                self.steps,
            )
            worst = tf.reduce_max(divergences(target, noisy_logits(worst, training=True)), axis=0)
            losses += self.weight * tf.where(is_easy[-1], worst, tf.zeros_like(worst))
        return losses, logits[0]

    def _is_easy(self, model, logits, labels):
        """Returns for each place in the order of losses whether it is among K, [noises, batch]."""
        right = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == labels, logits.dtype)
        share = tf.reduce_mean(right, axis=0)
        # Uniform numbers from the model's own stream of normal ones.
        normal = model.noise(keras.ops.zeros_like(logits[..., 0]), training=True)
        uniform = tf.math.erfc(tf.cast(normal, share.dtype) / -math.sqrt(2)) / 2
        number = tf.reduce_sum(tf.cast(uniform < share, tf.int32), axis=0)
        places = tf.range(self.noises)[:, tf.newaxis]
        return places < tf.maximum(number, 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "weight": self.weight,
            "radius": radius_config(self.radius),
            "steps": self.steps,
        }
