"""Losses that weigh the gap between two logits with its Lipschitz constant."""

from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.losses.class_pairs import (
    distances_of_columns,
    global_constants,
    kernel_of,
    linear_last_layer,
)
from lsrs_tf.losses.labelled_logits import number_of_classes
from lsrs_tf.losses.logit_loss import LogitLoss
from lsrs_tf.number_kinds import number_above_zero


class ClassPairLoss(LogitLoss):
    """Loss with the constants of pairs of classes. A subclass implements `loss_of_each`.

    Args:
        lipschitz: float above 0. With `pairwise`, the Lipschitz constant of all that comes before
            the last layer; without, that of the whole model from pixels to logits.
        pairwise: bool, whether the constant of classes y and i is `lipschitz` times the distance of
            their columns in the present kernel of the last layer; otherwise it is sqrt(2) times
            `lipschitz`.
        reduction: see `keras.losses.Loss`.
        name: str or None, name of the loss.
        dtype: 'float32' or 'float64'; None means 'float32'.
    """

    def __init__(
        self,
        lipschitz: float = 1.0,
        pairwise: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.lipschitz = number_above_zero(lipschitz, "lipschitz", type(self).__name__)
        if not isinstance(pairwise, bool):
            raise ValueError(
                f"Argument `pairwise` of {type(self).__name__} must be True or False. "
                f"Received: pairwise={pairwise!r}"
            )
        self.pairwise = pairwise

    def check_model(self, model: keras.Model) -> None:
        """Raises ValueError if the loss cannot train a model."""
        super().check_model(model)
        if self.pairwise:
            linear_last_layer(model, type(self).__name__)

    def constants_of(self, labels: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
        """Returns the constants [batch, classes] of the gaps, 0 at the label.

        Args:
            labels: int tensor [batch].
            gaps: float tensor [batch, classes].
        """
        classes = number_of_classes(gaps, type(self).__name__)
        if self.pairwise:
            constants = self._distances(classes)
        else:
            constants = tf.constant(global_constants(classes))
        return tf.gather(tf.cast(self.lipschitz * constants, gaps.dtype), labels)

    def _distances(self, classes):
        model = self.bound_model("the kernel of the last layer")
        # Again: it may have been built since.
        layer = linear_last_layer(model, type(self).__name__)
        kernel = kernel_of(layer)
        if kernel.shape[-1] != classes:
            raise ValueError(
                f"{type(self).__name__} is bound to a model of {kernel.shape[-1]} classes. "
                f"Received: logits of {classes} classes."
            )
        return distances_of_columns(kernel)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "lipschitz": self.lipschitz, "pairwise": self.pairwise}
