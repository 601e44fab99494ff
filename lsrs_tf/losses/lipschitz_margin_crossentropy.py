from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.losses.class_pair_loss import ClassPairLoss
from lsrs_tf.losses.labelled_logits import crossentropy
from lsrs_tf.number_kinds import number_from_zero


@keras.saving.register_keras_serializable("lsrs_tf")
class LipschitzMarginCrossentropy(ClassPairLoss):
    r"""Cross-entropy of the worst logits that a perturbation of some radius could make.

    Source: Tsuzuku, Sato and Sugiyama, "Lipschitz-Margin Training" (2018). For logits
    $z$, the true class $y$ and radius $c$ it is the cross-entropy of

    $$z_i + c \cdot m_{yi}, \qquad m_{yi} = L \lVert w_y - w_i \rVert \text{ or } \sqrt2 L,
    \qquad m_{yy} = 0,$$

    where $m_{yi}$ is the Lipschitz constant of $z_i - z_y$: that of the columns $w$ of the last
    layer, with the constant $L$ of what comes before it, or, with `pairwise=False`, the paper's
    constant of any model, whose $L$ is then that of the logits. The constants are those of the
    present weights, and no gradient flows through them.

    Args:
        radius: float of at least 0, $c$, an L2 radius in input space.
        lipschitz: float above 0, $L$. With `pairwise`, the Lipschitz constant of all that comes
            before the last layer: 1 for encoders of this library's orthogonal layers. Without, that
            of the whole model from pixels to logits.
        pairwise: bool, whether constants are those of pairs of classes. Then the loss has to be
            bound to a model, which `LatentSmoothingModel.compile` does.
        reduction: see `keras.losses.Loss`.
        name: str or None, name of the loss.
        dtype: 'float32' or 'float64'; None means 'float32'.

    Examples:
        >>> loss = LipschitzMarginCrossentropy(radius=0.5, lipschitz=2.0, pairwise=False)
        >>> print(f"{float(loss([0], [[np.sqrt(2), 0.0]])):.4f}")
        0.6931
        >>> print(f"{np.log(2):.4f}")
        0.6931
    """

    def __init__(
        self,
        radius: float,
        lipschitz: float = 1.0,
        pairwise: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "lipschitz_margin_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(lipschitz, pairwise, reduction, name, dtype)
        self.radius = number_from_zero(radius, "radius", type(self).__name__)

    def loss_of_each(self, labels: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
        """Returns the losses [batch]; see `LogitLoss`."""
        constants = tf.stop_gradient(self.constants_of(labels, gaps))
        return crossentropy(labels, gaps + self.radius * constants)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "radius": self.radius}
