import keras
import tensorflow as tf

from lsrs_tf.layers.arguments import known_image_shape, positive_integer, positive_pair
from lsrs_tf.layers.invertible_downsampling import InvertibleDownsampling
from lsrs_tf.numerics.spectrum import apply_pointwise, apply_spectrum


@keras.saving.register_keras_serializable("lsrs_tf")
class SpectralConv2D(keras.layers.Layer):
    """Circular convolution that holds its matrices of all frequencies as a fixed weight.

    This is what a convolution with a spectrum becomes when its encoder is frozen: the transform
    has been evaluated once, and nothing is left that could go stale. It is not trained.

    Args:
        filters: int, the number of output channels.
        strides: int or pair of ints, an invertible downsampling before the convolution.
        use_bias: bool, whether to add a bias.
        pointwise: bool, whether one matrix serves all frequencies: that of a 1 x 1 kernel.

    Input shape: `[batch, height, width, channels]`, all but the batch known.

    Output shape: `[batch, height / strides, width / strides, filters]`.

    Examples:
        >>> layers.SpectralConv2D(4)(np.ones((1, 8, 8, 4), "float32")).shape
        TensorShape([1, 8, 8, 4])
    """

    def __init__(self, filters, strides=1, use_bias=True, pointwise=False, **kwargs):
        super().__init__(**kwargs)
        self.trainable = False
        name = type(self).__name__
        self.filters = positive_integer(filters, "filters", name)
        self.strides = positive_pair(strides, "strides", name)
        self.use_bias = use_bias
        self.pointwise = pointwise
        self.downsampling = InvertibleDownsampling(self.strides, dtype=self.dtype_policy)

    def build(self, input_shape):
        """Creates `spectrum`, laid out as `LipschitzConv2D.spectrum`, and `bias`."""
        self.downsampling.build(input_shape)
        # Pinned: at another size this would be another map, with another Lipschitz constant.
        self.input_spec = keras.layers.InputSpec(shape=(None, *input_shape[1:]))
        _, height, width, channels = self.downsampling.compute_output_shape(input_shape)
        if self.pointwise:
            height, width = 1, 1
        self.spectrum = self.add_weight(
            name="spectrum",
            shape=(width // 2 + 1, height, 2 * self.filters, channels),
            initializer="zeros",
            trainable=False,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.filters,), initializer="zeros", trainable=False
            )
        self.built = True

    def call(self, inputs):
        """Returns the convolution of `inputs`."""
        images = self.downsampling(inputs)
        apply = apply_pointwise if self.pointwise else apply_spectrum
        outputs = apply(images, tf.convert_to_tensor(self.spectrum))
        return outputs + tf.convert_to_tensor(self.bias) if self.use_bias else outputs

    def compute_output_shape(self, input_shape):
        """Returns the output shape for `input_shape`."""
        known_image_shape(input_shape, type(self).__name__)
        return (*self.downsampling.compute_output_shape(input_shape)[:3], self.filters)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "strides": self.strides,
            "use_bias": self.use_bias,
            "pointwise": self.pointwise,
        }
