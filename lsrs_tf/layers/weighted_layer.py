import keras
import numpy as np
import tensorflow as tf

# Far above the values of any kernel that was trained, and far below the root of what float32 holds.
LARGEST_VALUE = 1e6


class WeightedLayer(keras.layers.Layer):
    """What layers with a kernel and a bias have in common: their arguments and weights.

    All weights are exempt from autocasting: the transforms must see their full precision.

    Args:
        use_bias: bool, whether to add a bias.
        kernel_initializer: initializer of the kernel.
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
        # Keras compiles a training step with XLA where every layer says it supports it. The
        # transforms run several times slower inside XLA on a CPU; on a GPU its linear solver is one
        # of many small steps, and compiling a ResNet18 takes minutes.
        self.supports_jit = False

    def add_kernel(self, shape, name="kernel"):
        """Creates and returns a weight with the kernel's initializer, regularizer, constraint."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,
        )

    def add_gain(self, rank):
        """Creates and returns the trained scalar that a normalized kernel is multiplied by.

        Args:
            rank: int, the smaller number of rows and columns of a matrix of the kernel. Random
                weights of variance 1 / (3 * fan in) would have the norm sqrt(rank / 3).
        """
        return self.add_weight(
            name="gain",
            shape=(),
            initializer=keras.initializers.Constant(np.sqrt(rank / 3)),
            autocast=False,
        )

    def add_bias(self, units):
        """Creates and returns the bias, or None if the layer has none."""
        if not self.use_bias:
            return None
        return self.add_weight(
            name="bias",
            shape=(units,),
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
            autocast=False,
        )

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


def scale_of_large(kernel):
    """Returns what a kernel is multiplied by so that products of its values are finite in float32.

    It is 1 for kernels of values up to `LARGEST_VALUE`. No gradient flows to it: it is for maps
    that do not depend on the scale of a kernel.

    Args:
        kernel: tensor of any shape.
    """
    largest = tf.reduce_max(tf.abs(kernel))
    scale = tf.where(largest > LARGEST_VALUE, LARGEST_VALUE / largest, tf.ones_like(largest))
    return tf.stop_gradient(scale)


def without_large_values(kernel):
    """Returns a kernel times `scale_of_large`: unless it has large values, the kernel itself."""
    scale = scale_of_large(kernel)
    # Chosen, not only multiplied by 1, which compilers might join with other products.
    return tf.where(scale < 1, kernel * scale, kernel)


def scaled_kernel(kernel, gain, dtype):
    """Returns `gain * kernel / norm(kernel)`: only the direction of the kernel matters.

    Args:
        kernel: variable or tensor of any shape.
        gain: scalar variable or tensor.
        dtype: 'float32' or 'float64', the precision of the result.
    """
    kernel = without_large_values(tf.cast(kernel, dtype))
    squares = tf.reduce_sum(kernel**2)
    # A kernel shorter than 1e-6 is not normalized, so that one of zeros has a finite gradient.
    return kernel * tf.cast(gain, dtype) * tf.math.rsqrt(tf.maximum(squares, 1e-12))
