from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.number_kinds import number_above_zero, number_from_zero
from lsrs_tf.training.objective import (
    LatentObjective,
    log_mean_probabilities,
    logits_of,
    noise_of,
    of_each_noise,
    repeated,
)


@keras.saving.register_keras_serializable("lsrs_tf")
class MACER(LatentObjective):
    r"""Cross-entropy of the smoothed classifier, and a hinge on its certified radius (MACER).

    Source: Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified
    Radius" (2020), with the noise in the latent. For the logits $z_i = h(g(x) + \delta_i)$ at noise
    $\delta_i \sim N(0, \sigma^2 I)$, and the mean probabilities
    $p = \frac1m \sum_i \operatorname{softmax}(z_i)$ and
    $q = \frac1m \sum_i \operatorname{softmax}(\beta z_i)$, it is

    $$-\log p_y + \lambda \frac\sigma2 \max(0, \gamma - \xi)\, 1[\operatorname{argmax} q = y],
    \qquad \xi = \Phi^{-1}(q_y) - \Phi^{-1}(\max_{c \ne y} q_c).$$

    $\frac\sigma2 \xi$ is a soft version of the radius in the latent, and, where the encoder $g$ has
    the Lipschitz constant 1, of one in input space. As in the authors' code images of infinite
    $\xi$ take no part in the hinge.

    The paper has $m = 16$, $\beta = 16$, $\gamma = 8$, and on CIFAR-10 $\lambda$ of 12, 6 and 12
    for $\sigma$ of .25, .5 and 1.

    Args:
        weight: float of at least 0, $\lambda$.
        margin: float above 0, $\gamma$.
        inverse_temperature: float above 0, $\beta$.
        noises: int of at least 1, $m$.

    Examples:
        >>> from lsrs_tf import models
        >>> model = models.convnet(width=2, num_classes=3)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile("sgd", loss, objective=MACER(weight=12.0, noises=4))
        >>> history = model.fit(np.zeros((4, 8, 8, 1)), np.arange(4) % 3, verbose=0)
    """

    def __init__(
        self,
        weight: float = 12.0,
        margin: float = 8.0,
        inverse_temperature: float = 16.0,
        noises: int = 16,
    ) -> None:
        super().__init__(noises)
        name = type(self).__name__
        self.weight = number_from_zero(weight, "weight", name)
        self.margin = number_above_zero(margin, "margin", name)
        self.inverse_temperature = number_above_zero(
            inverse_temperature, "inverse_temperature", name
        )

    def losses_of_latents(
        self, model: LatentSmoothingModel, latents: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns losses and logits of the first noise; see `LatentObjective`."""
        latents = repeated(latents, self.noises)
        logits = logits_of(model, latents + noise_of(model, latents), training=True)
        logits = of_each_noise(logits, self.noises)
        of_label = tf.gather(log_mean_probabilities(logits), labels[:, None], batch_dims=1)
        losses = -of_label[:, 0]
        if self.weight:
            hinges = self._hinges(
                tf.reduce_mean(tf.nn.softmax(self.inverse_temperature * logits), axis=0), labels
            )
            losses += self.weight * model.sigma / 2 * hinges
        return losses, logits[0]

    def _hinges(self, shares, labels):
        is_label = tf.one_hot(labels, shares.shape[-1], on_value=True, off_value=False)
        own = tf.gather(shares, labels[:, None], batch_dims=1)[:, 0]
        other = tf.reduce_max(tf.where(is_label, tf.zeros_like(shares), shares), axis=-1)
        gaps = tf.math.ndtri(own) - tf.math.ndtri(other)
        counts = (own > other) & tf.math.is_finite(gaps) & (gaps <= self.margin)
        # Numbers of no meaning in place of those that do not count: their gradient is finite.
        gaps = tf.math.ndtri(tf.where(counts, own, 0.75)) - tf.math.ndtri(
            tf.where(counts, other, 0.25)
        )
        return tf.where(counts, self.margin - gaps, tf.zeros_like(gaps))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "weight": self.weight,
            "margin": self.margin,
            "inverse_temperature": self.inverse_temperature,
        }
