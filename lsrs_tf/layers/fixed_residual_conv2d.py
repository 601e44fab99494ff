import keras
import tensorflow as tf

from lsrs_tf.layers.sdp_lipschitz_conv2d import SDPLipschitzConv2D


@keras.saving.register_keras_serializable("lsrs_tf")
class FixedResidualConv2D(SDPLipschitzConv2D):
    """Residual layer `x - 2 W* T^-1 relu(W x + b)` that holds W, T and b as fixed weights.

    This is what an `SDPLipschitzConv2D` becomes when its encoder is frozen. T is made of
    correlations, which can cancel: computed for every image, it would be as far from the T that is
    proven as those digits that devices do not agree on. It is not trained.

    Arguments, shapes and errors are those of `SDPLipschitzConv2D`. Its `log_q` is no part of the
    map: bounds of large images need it to prove that T is large enough.

    Examples:
        >>> layer = FixedResidualConv2D(4, 3, hidden_filters=16)
        >>> layer(np.zeros((2, 8, 8, 3), np.float32)).shape
        TensorShape([2, 8, 8, 4])
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.trainable = False

    def add_kernels(self):
        """Creates `kernel`, `log_q` and `diagonal`."""
        super().add_kernels()
        self.diagonal = self.add_weight(
            name="diagonal", shape=(self.hidden,), initializer="ones", autocast=False
        )

    def transformed_weights(self, dtype):
        """Returns the kernel and the diagonal of T, [hidden channels], as they are."""
        return tf.cast(self.kernel, dtype), tf.cast(self.diagonal, dtype)

    def transformed_bias(self, dtype):
        """Returns the bias as it is, or None if there is none."""
        return tf.cast(self.bias, dtype) if self.use_bias else None
