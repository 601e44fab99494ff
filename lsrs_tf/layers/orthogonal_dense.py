import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.layers import cayley, xla
from lsrs_tf.layers.arguments import positive_integer
from lsrs_tf.layers.precision import transform_dtype


@keras.saving.register_keras_serializable("lsrs_tf")
class OrthogonalDense(keras.layers.Layer):
    """Dense layer whose every singular value is 1, for any values of its weights.

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
        super().__init__(**kwargs)
        self.units = positive_integer(units, "units", type(self).__name__)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.supports_jit = xla.worthwhile()

    def build(self, input_shape):
        """Creates `kernel`, `gain` and `bias`."""
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(
                f"{type(self).__name__} needs a known last dimension. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        # Autocast is off: the transform must see the full precision of its weights.
        self.kernel = self.add_weight(
            name="kernel",
            shape=(inputs, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,
        )
        self.gain = self.add_weight(
            name="gain",
            shape=(),
            initializer=keras.initializers.Constant(np.sqrt(min(inputs, self.units) / 3)),
            autocast=False,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                autocast=False,
            )
        self.built = True

    def orthogonal_kernel(self, dtype):
        """Returns the orthogonal matrix [inputs, units] for the present weights.

        Args:
            dtype: 'float32' or 'float64', the precision of the transform.
        """
        kernel = tf.cast(self.kernel, dtype)
        # A kernel of all zeros stands for the gain-free transform, not for 0 / 0.
        norm = tf.maximum(tf.norm(kernel), np.finfo(dtype).tiny)
        return cayley.cayley(kernel * (tf.cast(self.gain, dtype) / norm))

    def call(self, inputs):
        """Returns the product of `inputs` with the orthogonal matrix."""
        dtype = transform_dtype(self)
        outputs = tf.tensordot(tf.cast(inputs, dtype), self.orthogonal_kernel(dtype), axes=1)
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
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }
