import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.number_kinds import is_real_number
from lsrs_tf.numerics.precision import transform_dtype


@keras.saving.register_keras_serializable("lsrs_tf")
class Sparsemax(keras.layers.Layer):
    """Projects each vector of logits on the simplex `{p >= 0, sum(p) = scale}` (r-sparsemax).

    Sources: Martins and Astudillo, "From Softmax to Sparsemax" (2016); Delattre et al., "The
    Lipschitz-Variance-Margin Tradeoff for Enhanced Randomized Smoothing" (2023), for the scale;
    FaRS report, section 2.2. The projection on a convex set never moves two inputs apart, so the
    Lipschitz constant is 1. With z sorted downwards it is max(z - t, 0) for
    t = max_k (z_1 + ... + z_k - scale) / k: for the true t, each of these sums of z_i - t is at
    most the sum of all positive ones, which is the scale, and it is equal for one k.

    The gap of the two largest outputs is exactly `min(z_1 - z_2, scale)`: where both are positive
    it is z_1 - z_2, which the scale bounds; else it is the scale, and then z_1 - z_2 is at least
    that. So at fixed weights the layer never enlarges a deterministic radius, which is the gap
    divided by a Lipschitz constant. It can pay in training, and where votes are sampled.

    Args:
        scale: float above 0, the sum of each output vector.

    Input shape: `[..., classes]`. Output shape: the same.

    Raises:
        ValueError: if `scale` is not a finite number above 0.

    Examples:
        >>> Sparsemax()(np.array([[2.0, 1.5, 0.0]], np.float32)).numpy()
        array([[0.75, 0.25, 0.  ]], dtype=float32)
    """

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        if not (is_real_number(scale) and np.isfinite(scale) and scale > 0):
            raise ValueError(
                f"Argument `scale` of {type(self).__name__} must be a finite number above 0. "
                f"Received: scale={scale!r}"
            )
        self.scale = float(scale)

    def build(self, input_shape):
        """Checks that the number of classes is known."""
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                f"{type(self).__name__} needs a known last dimension after the batch. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(axes={-1: input_shape[-1]})
        self.built = True

    def call(self, inputs):
        """Returns the projections of the vectors along the last dimension."""
        values = tf.cast(inputs, transform_dtype(self))
        # Sums are the more accurate, the smaller their terms are; a shift does not change them.
        values -= tf.stop_gradient(tf.reduce_max(values, axis=-1, keepdims=True))
        sums = tf.cumsum(tf.sort(values, axis=-1, direction="DESCENDING"), axis=-1)
        counts = tf.range(1, inputs.shape[-1] + 1, dtype=values.dtype)
        threshold = tf.reduce_max((sums - self.scale) / counts, axis=-1, keepdims=True)
        return tf.cast(tf.nn.relu(values - threshold), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns `input_shape`."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "scale": self.scale}
