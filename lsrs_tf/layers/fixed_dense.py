import keras
import tensorflow as tf

from lsrs_tf.layers.arguments import positive_integer


@keras.saving.register_keras_serializable("lsrs_tf")
class FixedDense(keras.layers.Layer):
    """Dense layer that holds its matrix as a fixed weight.

    This is what an `OrthogonalDense` becomes when its encoder is frozen. It is not trained.

    Args:
        units: int, the number of outputs.
        use_bias: bool, whether to add a bias.

    Input shape: `[..., inputs]`. Output shape: `[..., units]`.

    Examples:
        >>> layers.FixedDense(3)(np.ones((2, 4), "float32")).shape
        TensorShape([2, 3])
    """

    def __init__(self, units, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.trainable = False
        self.units = positive_integer(units, "units", type(self).__name__)
        self.use_bias = use_bias

    def build(self, input_shape):
        """Creates `kernel` [inputs, units] and `bias`."""
        self.input_spec = keras.layers.InputSpec(axes={-1: input_shape[-1]})
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer="zeros",
            trainable=False,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.units,), initializer="zeros", trainable=False
            )
        self.built = True

    def call(self, inputs):
        """Returns the product of `inputs` with the matrix."""
        outputs = tf.tensordot(inputs, tf.convert_to_tensor(self.kernel), axes=1)
        return outputs + tf.convert_to_tensor(self.bias) if self.use_bias else outputs

    def compute_output_shape(self, input_shape):
        """Returns the output shape for `input_shape`."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias}
