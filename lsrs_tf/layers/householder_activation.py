import keras
import tensorflow as tf

from lsrs_tf.numerics.precision import transform_dtype


@keras.saving.register_keras_serializable("lsrs_tf")
class HouseholderActivation(keras.layers.Layer):
    """Reflects pairs of neighbouring channels that lie on one side of a trained line.

    Source: Singla, Singla and Feizi, "Improved Deterministic l2 Robustness on CIFAR-10 and
    CIFAR-100" (2022), section 4. With the trained angle t of a pair of channels and the unit vector
    v = (sin(t / 2), -cos(t / 2)), a pair z becomes z where v.z > 0 and its mirror image
    z - 2 v (v.z) elsewhere. The two agree on the line, so that no two inputs move apart: the
    Lipschitz constant is 1, and norms of values and of gradients are kept. The angle pi / 2 sorts
    a pair in descending order.

    Args:
        angle_initializer: initializer of the angles, in radians; half pi if not given.

    Input shape: `[..., channels]`, an even number of channels. Output shape: the same.

    Examples:
        >>> values = np.array([[3.0, -4.0]], "float32")
        >>> float(np.linalg.norm(layers.HouseholderActivation()(values)))
        5.0
    """

    def __init__(self, angle_initializer=None, **kwargs):
        super().__init__(**kwargs)
        if angle_initializer is None:
            angle_initializer = keras.initializers.Constant(1.5707963267948966)
        self.angle_initializer = keras.initializers.get(angle_initializer)

    def build(self, input_shape):
        """Creates `angle`, one for each pair of channels."""
        channels = input_shape[-1]
        if channels is None or channels % 2:
            raise ValueError(
                f"{type(self).__name__} needs a known, even number of channels. "
                f"Received: input_shape={tuple(input_shape)}. Change the filters of the layer "
                "before it."
            )
        self.input_spec = keras.layers.InputSpec(axes={-1: channels})
        self.angle = self.add_weight(
            name="angle",
            shape=(channels // 2,),
            initializer=self.angle_initializer,
            autocast=False,
        )
        self.built = True

    def call(self, inputs):
        """Returns `inputs` with pairs of channels reflected."""
        dtype = transform_dtype(self)
        pairs = tf.reshape(tf.cast(inputs, dtype), [-1, inputs.shape[-1] // 2, 2])
        half = tf.cast(self.angle, dtype) / 2
        first, second = pairs[..., 0], pairs[..., 1]
        sine, cosine = tf.sin(half), tf.cos(half)
        # Nothing on the one side of the line, twice the way to the line on the other.
        step = 2 * tf.minimum(sine * first - cosine * second, 0.0)
        # Stacked and transposed, which is faster than interleaving.
        outputs = tf.stack([first - step * sine, second + step * cosine], axis=-2)
        outputs = tf.reshape(tf.linalg.matrix_transpose(outputs), tf.shape(inputs))
        return tf.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        initializer = keras.initializers.serialize(self.angle_initializer)
        return {**super().get_config(), "angle_initializer": initializer}
