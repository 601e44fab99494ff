import keras
import tensorflow as tf

from lsrs_tf.layers.arguments import positive_integer
from lsrs_tf.layers.weighted_layer import WeightedLayer, scaled_kernel
from lsrs_tf.numerics.cayley import cayley_matrix
from lsrs_tf.numerics.precision import matmul, transform_dtype


@keras.saving.register_keras_serializable("lsrs_tf")
class OrthogonalDense(WeightedLayer):
    """Dense layer whose every singular value is 1, up to rounding.

    The Cayley transform of `OrthogonalConv2D` on one real matrix. With at least as many outputs as
    inputs the layer keeps all norms; with fewer it is an orthogonal projection and can only
    contract. Either way its Lipschitz constant is 1.

    Args:
        units: int, the number of outputs.
        use_bias: bool, whether to add a bias.
        kernel_initializer: initializer of the kernel. Only its direction matters.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernel.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of the kernel.
        bias_constraint: constraint of the bias.

    Input shape: `[..., inputs]`. Output shape: `[..., units]`.
    """

    def __init__(
        self,
        units,
        use_bias=True,
        kernel_initializer="glorot_normal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        super().__init__(
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            kernel_constraint,
            bias_constraint,
            **kwargs,
        )
        self.units = positive_integer(units, "units", type(self).__name__)

    def build(self, input_shape):
        """Creates `kernel`, `gain` and `bias`."""
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(
                f"{type(self).__name__} needs a known last dimension. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(axes={-1: inputs})
        self.kernel = self.add_kernel((inputs, self.units))
        self.gain = self.add_gain(min(inputs, self.units))
        self.bias = self.add_bias(self.units)
        self.built = True

    def orthogonal_kernel(self, dtype):
        """Returns the orthogonal matrix [inputs, units] for the present weights.

        Args:
            dtype: 'float32' or 'float64', the precision of the transform.
        """
        return cayley_matrix(scaled_kernel(self.kernel, self.gain, dtype))

    def call(self, inputs):
        """Returns the product of `inputs` with the orthogonal matrix."""
        dtype = transform_dtype(self)
        rows = tf.reshape(tf.cast(inputs, dtype), [-1, inputs.shape[-1]])
        outputs = matmul(rows, self.orthogonal_kernel(dtype))
        outputs = tf.reshape(outputs, tf.concat([tf.shape(inputs)[:-1], [self.units]], axis=0))
        if self.use_bias:
            outputs += tf.cast(self.bias, dtype)
        return tf.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns the output shape for `input_shape`."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
        }
