import keras
import numpy as np


@keras.saving.register_keras_serializable("lsrs_tf")
class Standardization(keras.layers.Layer):
    """Subtracts a mean and divides by a standard deviation: `(x - mean) / std`.

    Its Lipschitz constant is `1 / min(std)`, about 5 for the usual values of CIFAR-10. Leaving it
    out of a certificate makes the certificate wrong by that factor; `lsrs_tf.lipschitz_bound`
    counts it. With `std=1.0` the layer only centres, and its constant is 1.

    Args:
        mean: float, or one float per channel, in units of the input.
        std: float, or one float per channel, in units of the input, above 0.

    Input shape: `[..., channels]`. Output shape: the same.

    Examples:
        >>> layer = layers.Standardization(mean=0.5, std=0.25)
        >>> layer(np.array([[1.0, 0.5]], "float32")).numpy()
        array([[2., 0.]], dtype=float32)
        >>> round(lsrs_tf.lipschitz_bound(layer), 6)
        4.0
    """

    def __init__(self, mean, std, **kwargs):
        super().__init__(**kwargs)
        self.mean = np.asarray(mean, np.float64).tolist()
        self.std = np.asarray(std, np.float64).tolist()
        if np.ndim(self.mean) > 1 or np.ndim(self.std) > 1:
            raise ValueError(
                f"{type(self).__name__} needs a number, or one number per channel. "
                f"Received: mean={mean}, std={std}"
            )
        if not (np.all(np.isfinite(self.mean)) and np.all(np.isfinite(self.std))):
            raise ValueError(
                f"{type(self).__name__} needs finite numbers. Received: mean={mean}, std={std}"
            )
        if np.min(self.std) <= 0:
            raise ValueError(
                f"Argument `std` of {type(self).__name__} must be above 0. Received: std={std}"
            )

    def build(self, input_shape):
        """Checks that there is one number per channel."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if np.ndim(values) and len(values) != input_shape[-1]:
                raise ValueError(
                    f"{type(self).__name__} has {len(values)} values of `{name}`, but the input "
                    f"has {input_shape[-1]} channels. Received: input_shape={tuple(input_shape)}"
                )
        # Pinned: fewer channels would be repeated, and their norm stretched.
        self.input_spec = keras.layers.InputSpec(axes={-1: input_shape[-1]})
        self.built = True

    def call(self, inputs):
        """Returns the standardized `inputs`."""
        mean = keras.ops.convert_to_tensor(self.mean, dtype=inputs.dtype)
        std = keras.ops.convert_to_tensor(self.std, dtype=inputs.dtype)
        return (inputs - mean) / std

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "mean": self.mean, "std": self.std}
