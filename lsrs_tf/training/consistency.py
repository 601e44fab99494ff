from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.number_kinds import number_from_zero
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
class Consistency(LatentObjective):
    r"""Cross-entropy, and a penalty where the probabilities depend on the noise.

    Source: Jeong and Shin, "Consistency Regularization for Certified Robustness of Smoothed
    Classifiers" (2020), with the noise in the latent. For the probabilities $p_i$ at noise
    $\delta_i \sim N(0, \sigma^2 I)$, $p_i = \operatorname{softmax} h(g(x) + \delta_i)$, and their
    mean $\hat p = \frac1m \sum_i p_i$ it is

    $$\frac1m \sum_{i=1}^m -\log p_{i,y}
    + \frac{\lambda}{m} \sum_{i=1}^m \operatorname{KL}(\hat p \,\|\, p_i) + \eta H(\hat p).$$

    The encoder $g$ runs once, so that a step costs little more than with `Gaussian` where most of
    the work is in the encoder. The paper has $m = 2$ and $\eta = .5$, and on CIFAR-10 $\lambda$ of
    20, 10 and 10 for $\sigma$ of .25, .5 and 1. With $m = 1$ and $\lambda = \eta = 0$ it is
    `Gaussian`.

    Args:
        weight: float of at least 0, $\lambda$.
        entropy_weight: float of at least 0, $\eta$.
        noises: int of at least 1, $m$.

    Examples:
        >>> from lsrs_tf import models
        >>> model = models.convnet(width=2, num_classes=3)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile("sgd", loss, objective=Consistency(weight=10.0))
        >>> history = model.fit(np.zeros((4, 8, 8, 1)), np.arange(4) % 3, verbose=0)
    """

    def __init__(self, weight: float = 10.0, entropy_weight: float = 0.5, noises: int = 2) -> None:
        super().__init__(noises)
        name = type(self).__name__
        self.weight = number_from_zero(weight, "weight", name)
        self.entropy_weight = number_from_zero(entropy_weight, "entropy_weight", name)

    def losses_of_latents(
        self, model: LatentSmoothingModel, latents: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns losses and logits of the first noise; see `LatentObjective`."""
        latents = repeated(latents, self.noises)
        logits = logits_of(model, latents + noise_of(model, latents), training=True)
        logits = of_each_noise(logits, self.noises)
        losses = tf.reduce_mean(crossentropies(labels, logits), axis=0)
        log_mean = log_mean_probabilities(logits)
        if self.weight:
            losses += self.weight * tf.reduce_mean(divergences(log_mean, logits), axis=0)
        if self.entropy_weight:
            losses -= self.entropy_weight * tf.reduce_sum(tf.exp(log_mean) * log_mean, axis=-1)
        return losses, logits[0]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "weight": self.weight,
            "entropy_weight": self.entropy_weight,
        }
