"""What all losses of this package share: labels, logits, precision, and the model they train."""

import copy
import weakref
from typing import Any, Self

import keras
import tensorflow as tf

from lsrs_tf.losses.labelled_logits import checked_labels, gaps_to_label
from lsrs_tf.losses.last_layer import refuse_probabilities


class LogitLoss(keras.losses.Loss):
    """Loss of integer labels and logits. A subclass implements `loss_of_each`.

    Args:
        reduction: see `keras.losses.Loss`.
        name: str or None, name of the loss.
        dtype: 'float32' or 'float64', the precision of the loss; None means 'float32', also under
            mixed precision.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype or "float32")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(
                f"{type(self).__name__} computes in 'float32' or 'float64'. "
                f"Received: dtype={dtype!r}"
            )
        self._model: weakref.ref[keras.Model] | None = None

    def bind(self, model: keras.Model) -> Self:
        """Returns a copy of this loss that reads what it needs from a model.

        `LatentSmoothingModel.compile` does this by itself, also when a model is loaded. Other
        models are compiled with `loss.bind(model)`.

        Args:
            model: the model that is trained. The copy does not keep it alive.

        Raises:
            ValueError: if the model gives probabilities, or its last layer is not one that the loss
                can read.
        """
        self.check_model(model)
        bound = copy.copy(self)
        bound._model = weakref.ref(model)
        return bound

    def check_model(self, model: keras.Model) -> None:
        """Raises ValueError if the loss cannot train a model."""
        refuse_probabilities(model, type(self).__name__)

    def bound_model(self, purpose: str) -> keras.Model:
        """Returns the model that the loss is bound to.

        Args:
            purpose: str for the error, what the model is needed for.

        Raises:
            ValueError: if there is none.
        """
        model = None if self._model is None else self._model()
        if model is None:
            raise ValueError(
                f"{type(self).__name__} reads {purpose} from the model that it trains, but is not "
                "bound to one. Compile a lsrs_tf.models.LatentSmoothingModel with it, which binds "
                "it, or compile another model with `loss.bind(model)`."
            )
        return model

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the losses [batch] of labels [batch] and logits [batch, classes]."""
        name = type(self).__name__
        logits = tf.cast(y_pred, self.dtype)
        labels, valid = checked_labels(y_true, logits, name)
        losses = self.loss_of_each(labels, gaps_to_label(labels, logits))
        # Where no assertion was compiled, the loss must show that a label was invalid.
        return tf.where(valid, losses, tf.constant(float("nan"), losses.dtype))

    def loss_of_each(self, labels: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
        """Returns the losses [batch].

        Args:
            labels: int32 tensor [batch], classes.
            gaps: float tensor [batch, classes], the logits minus that of the label. They stand for
                the logits, and lose less to rounding where an offset is added to large ones.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "dtype": self.dtype}
