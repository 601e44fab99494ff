import keras

from lsrs_tf.layers.arguments import known_image_shape, positive_pair


@keras.saving.register_keras_serializable("lsrs_tf")
class InvertibleDownsampling(keras.layers.Layer):
    """Moves every block of pixels into the channels (space to depth).

    Nothing is lost and every norm is kept: the layer permutes the values of an image, so its
    Lipschitz constant is exactly 1.

    Args:
        pool_size: int or pair of ints, height and width of a block in pixels.

    Input shape: `[batch, height, width, channels]`, height and width divisible by the block's.

    Output shape: `[batch, height / p, width / q, p * q * channels]` for `pool_size=(p, q)`.

    Examples:
        >>> layers.InvertibleDownsampling(2)(np.ones((1, 8, 8, 3), "float32")).shape
        TensorShape([1, 4, 4, 12])
    """

    def __init__(self, pool_size=2, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = positive_pair(pool_size, "pool_size", type(self).__name__)

    def build(self, input_shape):
        """Checks that whole blocks fill the image."""
        self.compute_output_shape(input_shape)
        # Pinned: at another size this would be another map, with another Lipschitz constant.
        self.input_spec = keras.layers.InputSpec(shape=(None, *input_shape[1:]))
        self.built = True

    def call(self, inputs):
        """Returns the blocks of `inputs` as channels."""
        height, width, channels = known_image_shape(inputs.shape, type(self).__name__)
        rows, columns = self.pool_size
        blocks = keras.ops.reshape(
            inputs, (-1, height // rows, rows, width // columns, columns, channels)
        )
        return keras.ops.reshape(
            keras.ops.transpose(blocks, (0, 1, 3, 2, 4, 5)),
            (-1, height // rows, width // columns, rows * columns * channels),
        )

    def compute_output_shape(self, input_shape):
        """Returns the output shape for `input_shape`."""
        height, width, channels = known_image_shape(input_shape, type(self).__name__)
        rows, columns = self.pool_size
        if height % rows or width % columns:
            raise ValueError(
                f"{type(self).__name__} needs a height and width that its blocks divide. "
                f"Received: input_shape={tuple(input_shape)} with blocks of {rows} x {columns} "
                "pixels. Pad or resize the images, or choose another size of the blocks."
            )
        return (input_shape[0], height // rows, width // columns, rows * columns * channels)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "pool_size": self.pool_size}
