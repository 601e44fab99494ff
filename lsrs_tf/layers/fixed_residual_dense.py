import keras
import tensorflow as tf

from lsrs_tf.layers.arguments import positive_integer
from lsrs_tf.numerics.precision import matmul


@keras.saving.register_keras_serializable("lsrs_tf")
class FixedResidualDense(keras.layers.Layer):
    """Residual layer `x - 2 W T^-1 relu(W' x + b)` that holds W, T and b as fixed weights.

    This is what an `SDPLipschitzDense` becomes when its encoder is frozen. It is not trained.
    Columns of zeros are added to the input, or cut off from the output, as in that layer.

    Args:
        units: int, the number of outputs.
        hidden_units: int, the number of values inside.
        use_bias: bool, whether there is a bias inside the activation.

    Input shape: `[..., inputs]`. Output shape: `[..., units]`.

    Raises:
        ValueError: if a number of units is not a positive integer.

    Examples:
        >>> layer = FixedResidualDense(2, hidden_units=3)
        >>> layer(np.zeros((1, 2), np.float32)).shape
        TensorShape([1, 2])
    """

    def __init__(self, units, hidden_units, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.trainable = False
        name = type(self).__name__
        self.units = positive_integer(units, "units", name)
        self.hidden_units = positive_integer(hidden_units, "hidden_units", name)
        self.use_bias = use_bias

    def build(self, input_shape):
        """Creates `kernel` [max(inputs, units), hidden_units], `diagonal` and `bias`."""
        self.input_spec = keras.layers.InputSpec(axes={-1: input_shape[-1]})
        size = max(input_shape[-1], self.units)
        self.kernel = self._fixed("kernel", (size, self.hidden_units), "zeros")
        self.diagonal = self._fixed("diagonal", (self.hidden_units,), "ones")
        if self.use_bias:
            self.bias = self._fixed("bias", (self.hidden_units,), "zeros")
        self.built = True

    def _fixed(self, name, shape, initializer):
        return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False)

    def call(self, inputs):
        """Returns the residual layer's outputs for `inputs`."""
        rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
        weights = (tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.diagonal))
        bias = tf.convert_to_tensor(self.bias) if self.use_bias else None
        outputs = residual_step(rows, weights, bias, self.units)
        return tf.reshape(outputs, tf.concat([tf.shape(inputs)[:-1], [self.units]], axis=0))

    def compute_output_shape(self, input_shape):
        """Returns the output shape for `input_shape`."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "hidden_units": self.hidden_units,
            "use_bias": self.use_bias,
        }


def residual_step(rows, weights, bias, units):
    """Returns the first units of `x - 2 W T^-1 relu(W' x + b)` for each row x.

    Args:
        rows: tensor [rows, inputs]; zeros are added to the size of W.
        weights: (W, a tensor [max(inputs, units), hidden_units], diagonal of T, [hidden_units]).
        bias: tensor [hidden_units], or None.
        units: int.
    """
    kernel, diagonal = weights
    rows = tf.pad(rows, [[0, 0], [0, kernel.shape[0] - rows.shape[1]]])
    hidden = matmul(rows, kernel)
    if bias is not None:
        hidden += bias
    hidden = tf.nn.relu(hidden) / diagonal
    return (rows - 2 * matmul(hidden, kernel, transpose_b=True))[:, :units]
