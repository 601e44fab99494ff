import keras
import tensorflow as tf

from lsrs_tf.layers import cayley
from lsrs_tf.layers.arguments import known_image_shape, positive_integer, positive_pair
from lsrs_tf.layers.invertible_downsampling import InvertibleDownsampling
from lsrs_tf.layers.orthogonal_layer import OrthogonalLayer
from lsrs_tf.layers.precision import transform_dtype


@keras.saving.register_keras_serializable("lsrs_tf")
class OrthogonalConv2D(OrthogonalLayer):
    """Convolution whose every singular value is 1, for any values of its weights.

    The kernel is transformed to the Fourier domain, where the Cayley transform makes the matrix of
    every frequency orthogonal (Trockman and Kolter 2021; LS-RS paper, equations 10 and 11). With
    at least as many outputs as inputs the layer keeps all norms; with fewer it is an orthogonal
    projection and can only contract. Either way its Lipschitz constant is 1.

    Padding is circular, data is channels last. A stride s is an invertible downsampling by s
    (`s * s` times the channels, and nothing lost) followed by a convolution of stride 1, so that
    `kernel_size` counts pixels of the downsampled image.

    The kernel enters as `gain * kernel / norm(kernel)`, with a trained scalar `gain`: its size says
    how far the layer departs from the identity, and it is independent of the kernel's own size.

    Args:
        filters: int, the number of output channels.
        kernel_size: int or pair of ints, at most the size of the image (after the stride).
        strides: int or pair of ints; they must divide the image.
        use_bias: bool, whether to add a bias.
        kernel_initializer: initializer of the kernel. Only its direction matters.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernel.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of the kernel.
        bias_constraint: constraint of the bias.

    Input shape: `[batch, height, width, channels]`, all but the batch known.

    Output shape: `[batch, height / strides, width / strides, filters]`.

    Raises:
        ValueError: if the kernel is larger than the image, the strides do not divide it, or a size
            is unknown.
    """

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
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
        name = type(self).__name__
        self.filters = positive_integer(filters, "filters", name)
        self.kernel_size = positive_pair(kernel_size, "kernel_size", name)
        self.strides = positive_pair(strides, "strides", name)
        self.downsampling = InvertibleDownsampling(self.strides, dtype=self.dtype_policy)

    def build(self, input_shape):
        """Creates `kernel`, `gain` and `bias`."""
        self.downsampling.build(input_shape)
        # Pinned: at another size this would be another map, with another Lipschitz constant.
        self.input_spec = keras.layers.InputSpec(shape=(None, *input_shape[1:]))
        _, height, width, channels = self.downsampling.compute_output_shape(input_shape)
        if self.kernel_size[0] > height or self.kernel_size[1] > width:
            raise ValueError(
                f"{type(self).__name__} needs a kernel no larger than the image it convolves. "
                f"Received: kernel_size={self.kernel_size} for an image of {height} x {width} "
                f"pixels after strides={self.strides}. Use a smaller kernel or smaller strides."
            )
        self.image_size = (height, width)
        self.add_kernel_gain_and_bias((*self.kernel_size, channels, self.filters))
        self.built = True

    def stacked_spectrum(self, dtype):
        """Returns the orthogonal matrices of all frequencies for the present weights.

        Args:
            dtype: 'float32' or 'float64', the precision of the transform.

        Returns:
            Tensor [height, width // 2 + 1, 2 * filters, channels * strides ** 2], the real parts
            above the imaginary ones, height and width after the strides.
        """
        spectrum = cayley.kernel_spectrum(self.scaled_kernel(dtype), *self.image_size)
        return cayley.stack_spectrum(cayley.cayley(spectrum))

    def call(self, inputs):
        """Returns the convolution of `inputs`."""
        dtype = transform_dtype(self)
        images = tf.cast(self.downsampling(inputs), dtype)
        outputs = cayley.apply_stacked_spectrum(images, self.stacked_spectrum(dtype))
        if self.use_bias:
            outputs += tf.cast(self.bias, dtype)
        return tf.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns the output shape for `input_shape`."""
        known_image_shape(input_shape, type(self).__name__)
        return (*self.downsampling.compute_output_shape(input_shape)[:3], self.filters)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }
