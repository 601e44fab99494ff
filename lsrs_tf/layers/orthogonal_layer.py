import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.layers import xla


class OrthogonalLayer(keras.layers.Layer):
    """What orthogonal layers have in common: their arguments, weights and scaled kernel.

    The kernel enters as `gain * kernel / norm(kernel)`, with a trained scalar `gain`: its size says
    how far the layer departs from the identity, and it is independent of the kernel's own size.

    Args:
        use_bias: bool, whether to add a bias.
        kernel_initializer: initializer of the kernel. Only its direction matters.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernel.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of the kernel.
        bias_constraint: constraint of the bias.
    """

    def __init__(
        self,
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
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.supports_jit = xla.worthwhile()

    def add_kernel_gain_and_bias(self, kernel_shape):
        """Creates the weights `kernel`, `gain` and `bias`.

        Args:
            kernel_shape: tuple, the last two entries the numbers of inputs and of outputs.
        """
        inputs, outputs = kernel_shape[-2:]
        # Autocast is off: the transform must see the full precision of its weights.
        self.kernel = self.add_weight(
            name="kernel",
            shape=kernel_shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,
        )
        # The Frobenius norm that random weights of variance 1 / (3 * fan in) would have.
        self.gain = self.add_weight(
            name="gain",
            shape=(),
            initializer=keras.initializers.Constant(np.sqrt(min(inputs, outputs) / 3)),
            autocast=False,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(outputs,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                autocast=False,
            )

    def scaled_kernel(self, dtype):
        """Returns `gain * kernel / norm(kernel)` in the given dtype."""
        kernel = tf.cast(self.kernel, dtype)
        # A kernel of all zeros stands for the gain-free transform, not for 0 / 0.
        norm = tf.maximum(tf.norm(kernel), np.finfo(dtype).tiny)
        return kernel * (tf.cast(self.gain, dtype) / norm)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }
