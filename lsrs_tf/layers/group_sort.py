import keras
import tensorflow as tf

from lsrs_tf.layers.arguments import positive_integer


@keras.saving.register_keras_serializable("lsrs_tf")
class GroupSort(keras.layers.Layer):
    """Sorts groups of neighbouring channels in ascending order.

    Source: Anil, Lucas and Grosse, "Sorting out Lipschitz function approximation" (2019). Sorting
    permutes the values of each input, so norms of values and of gradients are kept, and two inputs
    never move apart: the Lipschitz constant is 1. Two inputs may come closer to each other.

    Groups of 2, the default, are known as MaxMin, and as OPLU (Chernodub and Nowicki 2016).

    Args:
        group_size: int, the number of channels in a group; it must divide the channels.

    Input shape: `[..., channels]`. Output shape: the same.

    Raises:
        ValueError: if groups do not fill the channels, or their number is unknown.

    Examples:
        >>> layers.GroupSort()(np.array([[3.0, 1.0, 2.0, 5.0]], "float32")).numpy()
        array([[1., 3., 2., 5.]], dtype=float32)
    """

    def __init__(self, group_size=2, **kwargs):
        super().__init__(**kwargs)
        self.group_size = positive_integer(group_size, "group_size", type(self).__name__)

    def build(self, input_shape):
        """Checks that whole groups fill the channels."""
        channels = input_shape[-1]
        if channels is None or channels % self.group_size:
            raise ValueError(
                f"{type(self).__name__} needs a known number of channels that its group size "
                f"divides. Received: input_shape={tuple(input_shape)}, "
                f"group_size={self.group_size}. Change the filters of the layer before it."
            )
        self.input_spec = keras.layers.InputSpec(axes={-1: channels})
        self.built = True

    def call(self, inputs):
        """Returns `inputs` with every group of channels sorted."""
        channels = inputs.shape[-1]
        groups = tf.reshape(inputs, [-1, channels // self.group_size, self.group_size])
        # Pairs are the common case, and much faster without a general sort.
        ordered = _sorted_pairs(groups) if self.group_size == 2 else tf.sort(groups, axis=-1)
        return tf.reshape(ordered, tf.shape(inputs))

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "group_size": self.group_size}


@tf.custom_gradient
def _sorted_pairs(pairs):
    """Sorts pairs [..., pairs, 2]; the gradient goes the way of the values."""
    in_order = pairs[..., 0] <= pairs[..., 1]

    def ordered(values):
        first, second = values[..., 0], values[..., 1]
        # Stacked and transposed, which is faster than interleaving.
        halves = tf.stack(
            [tf.where(in_order, first, second), tf.where(in_order, second, first)], axis=-2
        )
        return tf.linalg.matrix_transpose(halves)

    return ordered(pairs), ordered
