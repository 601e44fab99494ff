from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.losses.class_pair_loss import ClassPairLoss
from lsrs_tf.losses.labelled_logits import crossentropy
from lsrs_tf.number_kinds import number_above_zero

# The least share of the radius that every class is moved by.
_SMALLEST_SHARE = 0.01


@keras.saving.register_keras_serializable("lsrs_tf")
class EMMA(ClassPairLoss):
    r"""Cross-entropy after perturbations that just reach each other class (EMMA).

    Source: Hu, Zou, Wang, Leino and Fredrikson, "Unlocking Deterministic Robustness Certification
    on ImageNet" (2023), "Efficient Margin MAximization". For logits $z$, the true class $y$ and
    radius $\varepsilon$ it is the cross-entropy of

    $$z_i - z_y + e_i\, \varepsilon\, m_{yi}, \qquad
    e_i = \operatorname{clip}\left(\frac{z_y - z_i}{\varepsilon\, m_{yi}},\, 0.01,\, 1\right),$$

    with constants $m_{yi}$ as in `LipschitzMarginCrossentropy`. A class that a perturbation of norm
    $\varepsilon$ can reach is moved to the level of the true class, so that all of them are pushed
    away, not only the nearest one. No gradient flows through $e_i$; through $m_{yi}$ it does.

    The radius of the paper grows linearly from 0.1 to 3 times the radius of interest over the first
    half of the training. Schedules of Keras do that. They count the steps of the optimizer, which
    are saved with it, so that a training that is resumed goes on correctly.

    Args:
        radius: float above 0, or a `keras.optimizers.schedules.LearningRateSchedule` of one by the
            steps of the optimizer: $\varepsilon$, an L2 radius in input space.
        lipschitz: float above 0, $L$. With `pairwise`, the Lipschitz constant of all that comes
            before the last layer: 1 for encoders of this library's orthogonal layers. Without, that
            of the whole model from pixels to logits.
        pairwise: bool, whether constants are those of pairs of classes. Then, and with a schedule,
            the loss has to be bound to a model, which `LatentSmoothingModel.compile` does.
        reduction: see `keras.losses.Loss`.
        name: str or None, name of the loss.
        dtype: 'float32' or 'float64'; None means 'float32'.

    Examples:
        >>> loss = EMMA(radius=0.5, lipschitz=2.0, pairwise=False)
        >>> within_reach = loss([0], [[1.0, 0.0]])
        >>> print(f"{float(within_reach):.4f}")
        0.6931
        >>> beyond = loss([0], [[3.0, 0.0]])
        >>> print(f"{float(beyond):.4f} {np.log1p(np.exp(np.sqrt(2) - 3.0)):.4f}")
        0.1863 0.1863
        >>> radius = keras.optimizers.schedules.PolynomialDecay(
        ...     initial_learning_rate=0.1 * 36 / 255,
        ...     decay_steps=10_000,
        ...     end_learning_rate=3 * 36 / 255,
        ... )
        >>> loss = EMMA(radius)
    """

    def __init__(
        self,
        radius: float | keras.optimizers.schedules.LearningRateSchedule,
        lipschitz: float = 1.0,
        pairwise: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "emma",
        dtype: Any = None,
    ) -> None:
        super().__init__(lipschitz, pairwise, reduction, name, dtype)
        if isinstance(radius, dict):
            radius = keras.optimizers.schedules.deserialize(radius)
        self.radius: Any = radius
        if not self._is_scheduled():
            self.radius = number_above_zero(radius, "radius", type(self).__name__)

    def _is_scheduled(self):
        return isinstance(self.radius, keras.optimizers.schedules.LearningRateSchedule)

    def present_radius(self) -> tf.Tensor:
        """Returns the radius at the present step of the optimizer, a scalar."""
        if not self._is_scheduled():
            return tf.constant(self.radius, self.dtype)
        optimizer = getattr(self.bound_model("the steps of the optimizer"), "optimizer", None)
        if optimizer is None:
            raise ValueError(
                f"{type(self).__name__} with a schedule counts the steps of the optimizer, but its "
                "model has none. Compile the model with an optimizer, or give a number as `radius`."
            )
        return tf.cast(self.radius(optimizer.iterations), self.dtype)

    def loss_of_each(self, labels: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
        """Returns the losses [batch]; see `LogitLoss`."""
        reach = self.present_radius() * self.constants_of(labels, gaps)
        # Where nothing can be reached, at the label above all, nothing is added either.
        shares = tf.math.divide_no_nan(-gaps, reach)
        shares = tf.stop_gradient(tf.clip_by_value(shares, _SMALLEST_SHARE, 1.0))
        return crossentropy(labels, gaps + shares * reach)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        radius = self.radius
        if self._is_scheduled():
            radius = keras.optimizers.schedules.serialize(radius)
        return {**super().get_config(), "radius": radius}
