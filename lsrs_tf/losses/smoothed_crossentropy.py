from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.losses.labelled_logits import crossentropy
from lsrs_tf.losses.logit_loss import LogitLoss
from lsrs_tf.number_kinds import number_from_zero


@keras.saving.register_keras_serializable("lsrs_tf")
class SmoothedCrossentropy(LogitLoss):
    r"""Cross-entropy with label smoothing, for integer labels.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016). Of
    the $k$ classes each one is the label with the probability $s / k$, and the true class $y$ with
    the rest:

    $$(1 - s) \operatorname{CE}(z, y) + \frac{s}{k} \sum_{i=1}^k \operatorname{CE}(z, i).$$

    It is `keras.losses.CategoricalCrossentropy(label_smoothing=s)` of one-hot labels.

    Args:
        smoothing: float in [0, 1), $s$.
        reduction: see `keras.losses.Loss`.
        name: str or None, name of the loss.
        dtype: 'float32' or 'float64'; None means 'float32'.

    Examples:
        >>> loss = SmoothedCrossentropy(smoothing=0.5)
        >>> print(f"{float(loss([0], [[2.0, 0.0]])):.4f} {np.log1p(np.exp(-2)) + 0.25 * 2:.4f}")
        0.6269 0.6269
    """

    def __init__(
        self,
        smoothing: float,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "smoothed_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.smoothing = number_from_zero(smoothing, "smoothing", type(self).__name__)
        if self.smoothing >= 1:
            raise ValueError(
                f"Argument `smoothing` of {type(self).__name__} must be below 1. "
                f"Received: smoothing={smoothing!r}"
            )

    def loss_of_each(self, labels: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
        """Returns the losses [batch]; see `LogitLoss`."""
        # The gap of the label is 0, and CE(z, i) = CE(z, y) - gap_i.
        return crossentropy(labels, gaps) - self.smoothing * tf.reduce_mean(gaps, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "smoothing": self.smoothing}
