from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.losses.labelled_logits import crossentropy
from lsrs_tf.losses.logit_loss import LogitLoss
from lsrs_tf.number_kinds import number_above_zero, number_from_zero


@keras.saving.register_keras_serializable("lsrs_tf")
class OffsetCrossentropy(LogitLoss):
    r"""Cross-entropy of logits with an offset against the true class, at a temperature.

    Source: Prach and Lampert, "Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz
    Networks" (2022). For logits $z$, the true class $y$ as one-hot vector $e_y$, offset
    $\xi$ and temperature $T$ it is

    $$T \cdot \operatorname{CE}\left(\operatorname{softmax}\frac{z - \xi e_y}{T}, y\right).$$

    The offset picks the radius at which the model is good. A radius $R$ of a model with the
    Lipschitz constant $L$ needs a margin of $\sqrt2 \cdot L R$ between the logits; once or twice
    that is a customary offset. A larger one raises the accuracy at large radii, and lowers the
    clean accuracy. With offset 0 and temperature 1 it is the cross-entropy of the logits.

    Args:
        offset: float of at least 0, $\xi$, in units of the logits.
        temperature: float above 0, $T$, in units of the logits.
        reduction: see `keras.losses.Loss`.
        name: str or None, name of the loss.
        dtype: 'float32' or 'float64'; None means 'float32'.

    Examples:
        >>> loss = OffsetCrossentropy(offset=0.5, temperature=0.25)
        >>> print(f"{float(loss([0], [[1.0, 0.5]])):.4f}")
        0.1733
        >>> print(f"{0.25 * np.log(2):.4f}")
        0.1733
    """

    def __init__(
        self,
        offset: float,
        temperature: float = 0.25,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "offset_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.offset = number_from_zero(offset, "offset", type(self).__name__)
        self.temperature = number_above_zero(temperature, "temperature", type(self).__name__)

    def loss_of_each(self, labels: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
        """Returns the losses [batch]; see `LogitLoss`."""
        offsets = self.offset * tf.one_hot(labels, gaps.shape[-1], dtype=gaps.dtype)
        return self.temperature * crossentropy(labels, (gaps - offsets) / self.temperature)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "offset": self.offset, "temperature": self.temperature}
