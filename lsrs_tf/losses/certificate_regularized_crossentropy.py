from typing import Any

import keras
import tensorflow as tf

from lsrs_tf.losses.class_pair_loss import ClassPairLoss
from lsrs_tf.losses.labelled_logits import crossentropy
from lsrs_tf.number_kinds import number_from_zero


@keras.saving.register_keras_serializable("lsrs_tf")
class CertificateRegularizedCrossentropy(ClassPairLoss):
    r"""Cross-entropy minus a multiple of the certified radius of what is classified correctly.

    Source: Singla, Singla and Feizi, "Improved Deterministic l2 Robustness on CIFAR-10 and
    CIFAR-100" (2022). For logits $z$ and the true class $y$ it is

    $$\operatorname{CE}(z, y) - \gamma \max(0, R), \qquad
    R = \min_{i \ne y} \frac{z_y - z_i}{m_{yi}}, \qquad
    m_{yi} = L \lVert w_y - w_i \rVert \text{ or } \sqrt2 L,$$

    with constants $m_{yi}$ as in `LipschitzMarginCrossentropy`. The gradient flows through them:
    otherwise larger weights of the last layer would seem to enlarge the radius. Unlike the other
    losses it may be below 0.

    Args:
        gamma: float of at least 0, $\gamma$, weight of the radius in input space.
        lipschitz: float above 0, $L$. With `pairwise`, the Lipschitz constant of all that comes
            before the last layer: 1 for encoders of this library's orthogonal layers. Without, that
            of the whole model from pixels to logits.
        pairwise: bool, whether constants are those of pairs of classes. Then the loss has to be
            bound to a model, which `LatentSmoothingModel.compile` does.
        reduction: see `keras.losses.Loss`.
        name: str or None, name of the loss.
        dtype: 'float32' or 'float64'; None means 'float32'.

    Examples:
        >>> plain, regularized = (
        ...     CertificateRegularizedCrossentropy(gamma, pairwise=False) for gamma in (0.0, 0.5)
        ... )
        >>> logits = [[2 * np.sqrt(2), 0.0]]
        >>> print(f"{float(plain([0], logits) - regularized([0], logits)):.4f}")
        1.0000
    """

    def __init__(
        self,
        gamma: float,
        lipschitz: float = 1.0,
        pairwise: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "certificate_regularized_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(lipschitz, pairwise, reduction, name, dtype)
        self.gamma = number_from_zero(gamma, "gamma", type(self).__name__)

    def loss_of_each(self, labels: tf.Tensor, gaps: tf.Tensor) -> tf.Tensor:
        """Returns the losses [batch]; see `LogitLoss`."""
        constants = self.constants_of(labels, gaps)
        # Two classes with the same weights: no perturbation changes their gap, and its radius, 0 or
        # infinite, has no gradient. The gap itself stands for it.
        radii = -gaps / tf.where(constants > 0, constants, 1.0)
        is_label = tf.one_hot(labels, gaps.shape[-1], on_value=True, off_value=False)
        radius = tf.reduce_min(tf.where(is_label, gaps.dtype.max, radii), axis=-1)
        return crossentropy(labels, gaps) - self.gamma * tf.nn.relu(radius)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "gamma": self.gamma}
