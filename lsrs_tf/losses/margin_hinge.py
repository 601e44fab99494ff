from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.losses.logit_loss import LogitLoss
from lsrs_tf.number_kinds import number_above_zero


@keras.saving.register_keras_serializable("lsrs_tf")
class MarginHinge(LogitLoss):
    r"""Hinge loss of the margin between the true class and the best other class.

    Source: Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector
    Machines" (2001), with a margin $\mu$ instead of 1. For logits $z$ and the true
    class $y$ it is

    $$\max\left(0,\; \mu - z_y + \max_{i \ne y} z_i\right).$$

    It is 0 once the margin is reached, so that no image is pushed further than the radius that
    belongs to it: $\mu / (\sqrt2 L)$ for a model with the Lipschitz constant $L$.

    Args:
        margin: float above 0, $\mu$, in units of the logits.
        reduction: see `keras.losses.Loss`.
        name: str or None, name of the loss.
        dtype: 'float32' or 'float64'; None means 'float32'.

    Examples:
        >>> loss = MarginHinge(margin=1.0, reduction=None)
        >>> loss([0, 0], [[2.0, 0.5, 0.0], [2.0, 1.75, 0.0]]).numpy().tolist()
        [0.0, 0.75]
    """

    def __init__(
        self,
        margin: float,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "margin_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.margin = number_above_zero(margin, "margin", type(self).__name__)

    def loss_of_each(self, labels: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
        """Returns the losses [batch]; see `LogitLoss`."""
        is_label = tf.one_hot(labels, gaps.shape[-1], on_value=True, off_value=False)
        largest = tf.reduce_max(tf.where(is_label, gaps.dtype.min, gaps), axis=-1)
        return tf.nn.relu(self.margin + largest)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "margin": self.margin}
