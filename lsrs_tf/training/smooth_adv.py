from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.models import LatentSmoothingModel
from lsrs_tf.number_kinds import count_from_one
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
    log_mean_probabilities,
    logits_of,
    noise_of,
    of_each_noise,
    repeated,
)


@keras.saving.register_keras_serializable("lsrs_tf")
class SmoothAdv(LatentObjective):
    r"""Cross-entropy at latents that were moved to where the smoothed head errs (SmoothAdv).

    Source: Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed
    Classifiers" (2019), with noise and attack in the latent. For the probabilities of the head,
    $p(u) = \operatorname{softmax} h(u)$, and noise $\delta_i \sim N(0, \sigma^2 I)$ it is

    $$\frac1m \sum_{i=1}^m -\log p_y(g(x) + \Delta + \delta_i), \qquad
    \Delta \approx \operatorname*{argmax}_{\lVert \Delta \rVert \le \varepsilon}
    -\log \frac1m \sum_{i=1}^m p_y(g(x) + \Delta + \delta_i),$$

    with the same noise in both. The attack is that of projected gradient ascent with steps of
    $2 \varepsilon / T$ from the latent itself, on the head in inference. The certificate is a ball
    in the latent, so that this is the adversary it excludes; the encoder $g$ runs once for all $T$
    steps. No gradient flows through $\Delta$.

    The paper has $T = 10$, and on CIFAR-10 $\varepsilon$ of 1, 1, 2 and $m$ of 4, 8, 2 for $\sigma$
    of .25, .5 and 1. There $\varepsilon$ grows from 0 in the first 10 epochs, as a schedule does.

    Args:
        radius: float above 0, or a `keras.optimizers.schedules.LearningRateSchedule` of one by the
            steps of the optimizer: $\varepsilon$, an L2 radius in the latent.
        steps: int of at least 1, $T$.
        noises: int of at least 1, $m$.

    Examples:
        >>> from lsrs_tf import models
        >>> model = models.convnet(width=2, num_classes=3)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> growing = keras.optimizers.schedules.PolynomialDecay(0.0, 1_000, 1.0)
        >>> model.compile("sgd", loss, objective=SmoothAdv(growing, steps=2))
        >>> history = model.fit(np.zeros((4, 8, 8, 1)), np.arange(4) % 3, verbose=0)
    """

    def __init__(
        self,
        radius: float | keras.optimizers.schedules.LearningRateSchedule = 1.0,
        steps: int = 10,
        noises: int = 4,
    ) -> None:
        super().__init__(noises)
        self.radius = checked_radius(radius, type(self).__name__)
        self.steps = count_from_one(steps, "steps", type(self).__name__)

    def losses_of_latents(
        self, model: LatentSmoothingModel, latents: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns losses and logits of the first noise, attacked; see `LatentObjective`."""
        latents = at_least_float32(latents)
        noise = tf.stop_gradient(noise_of(model, repeated(latents, self.noises)))

        def noisy_logits(moved, training):
            logits = logits_of(model, repeated(moved, self.noises) + noise, training)
            return of_each_noise(logits, self.noises)

        def losses(moved):
            log_means = log_mean_probabilities(noisy_logits(moved, training=False))
            return -tf.gather(log_means, labels[:, None], batch_dims=1)

        moved = moved_by_ascent(latents, losses, present_radius(self.radius, model), self.steps)
        change = moved - tf.stop_gradient(latents)
        logits = noisy_logits(latents + change, training=True)
        return tf.reduce_mean(crossentropies(labels, logits), axis=0), logits[0]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "radius": radius_config(self.radius),
            "steps": self.steps,
        }
