import keras
import tensorflow as tf

from lsrs_tf.layers.arguments import positive_integer
from lsrs_tf.layers.weighted_layer import WeightedLayer
from lsrs_tf.numerics.precision import matmul, transform_dtype


class LipschitzDense(WeightedLayer):
    """Base of the dense layers with a Lipschitz constant of at most 1.

    Subclasses differ in how they turn their weights into a matrix: they override `add_kernels` and
    `matrix`.

    Args:
        units: int, the number of outputs.
        use_bias: bool, whether to add a bias.
        kernel_initializer: initializer of the kernel.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernel.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of the kernel.
        bias_constraint: constraint of the bias.

    Input shape: `[..., inputs]`, the last dimension known. Output shape: `[..., units]`.

    Raises:
        ValueError: if `units` is not a positive integer, or the last dimension is unknown.

    Examples:
        >>> isinstance(layers.SpectralDense(3), layers.LipschitzDense)
        True
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
        if "activation" in kwargs:
            raise ValueError(
                f"{type(self).__name__} has no argument `activation`: put an activation that keeps "
                "norms after it, such as layers.GroupSort(). "
                f"Received: activation={kwargs['activation']!r}"
            )
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
        """Creates the weights."""
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(
                f"{type(self).__name__} needs a known last dimension. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(axes={-1: inputs})
        self.add_kernels(inputs)
        self.bias = self.add_bias(self.units)
        self.built = True

    def add_kernels(self, inputs: int) -> None:
        """Creates all weights but the bias; to be overridden."""
        raise NotImplementedError(
            "LipschitzDense is what its subclasses have in common. Use OrthogonalDense."
        )

    def matrix(self, dtype: str) -> tf.Tensor:
        """Returns the matrix [inputs, units] for the present weights; to be overridden.

        Args:
            dtype: 'float32' or 'float64', the precision of the transform.
        """
        raise NotImplementedError

    def call(self, inputs):
        """Returns the outputs for `inputs`."""
        dtype = transform_dtype(self)
        rows = tf.reshape(tf.cast(inputs, dtype), [-1, inputs.shape[-1]])
        outputs = self.transformed(rows, dtype)
        outputs = tf.reshape(outputs, tf.concat([tf.shape(inputs)[:-1], [self.units]], axis=0))
        return tf.cast(outputs, self.compute_dtype)

    def transformed(self, rows, dtype):
        """Returns the outputs [rows, units] for rows [rows, inputs] of this dtype."""
        outputs = matmul(rows, self.matrix(dtype))
        return outputs + tf.cast(self.bias, dtype) if self.use_bias else outputs

    def compute_output_shape(self, input_shape):
        """Returns the output shape for `input_shape`."""
        return (*input_shape[:-1], self.units)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "units": self.units}
