import math

import keras

from lsrs_tf.layers.arguments import known_image_shape, positive_pair


@keras.saving.register_keras_serializable("lsrs_tf")
class ScaledAveragePooling2D(keras.layers.Layer):
    """Average pooling without overlap, scaled so that its norm is 1.

    The sum of each window of p x q pixels is divided by sqrt(p q), not by p q. The windows share no
    pixel, so the rows of the matrix are orthonormal: every singular value is 1, where that of
    `keras.layers.AveragePooling2D` is 1 / sqrt(p q). FaRS's backbone pools like this, as
    `AvgPool2d(4, divisor_override=4)`.

    Args:
        pool_size: int or pair of ints, height and width of a window in pixels.

    Input shape: `[batch, height, width, channels]`, height and width divisible by the window's.

    Output shape: `[batch, height / p, width / q, channels]` for `pool_size=(p, q)`.

    Raises:
        ValueError: if windows do not fill the image, or a size is unknown.

    Examples:
        >>> float(ScaledAveragePooling2D(2)(np.ones((1, 2, 2, 1), np.float32))[0, 0, 0, 0])
        2.0
    """

    def __init__(self, pool_size=2, **kwargs):
        for argument in ("strides", "padding", "data_format"):
            if argument in kwargs:
                raise ValueError(
                    f"{type(self).__name__} has no argument `{argument}`: its windows lie side by "
                    "side, and its data is channels last. "
                    f"Received: {argument}={kwargs[argument]!r}"
                )
        super().__init__(**kwargs)
        self.pool_size = positive_pair(pool_size, "pool_size", type(self).__name__)

    def build(self, input_shape):
        """Checks that whole windows fill the image."""
        self.compute_output_shape(input_shape)
        # Pinned: at another size this would be another map.
        self.input_spec = keras.layers.InputSpec(shape=(None, *input_shape[1:]))
        self.built = True

    def call(self, inputs):
        """Returns the scaled averages of the windows of `inputs`."""
        height, width, channels = known_image_shape(inputs.shape, type(self).__name__)
        rows, columns = self.pool_size
        windows = keras.ops.reshape(
            inputs, (-1, height // rows, rows, width // columns, columns, channels)
        )
        return keras.ops.sum(windows, axis=(2, 4)) / math.sqrt(rows * columns)

    def compute_output_shape(self, input_shape):
        """Returns the output shape for `input_shape`."""
        height, width, channels = known_image_shape(input_shape, type(self).__name__)
        rows, columns = self.pool_size
        if height % rows or width % columns:
            raise ValueError(
                f"{type(self).__name__} needs a height and width that its windows divide. "
                f"Received: input_shape={tuple(input_shape)} with windows of {rows} x {columns} "
                "pixels. Pad or resize the images, or choose another size of the windows."
            )
        return (input_shape[0], height // rows, width // columns, channels)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "pool_size": self.pool_size}
