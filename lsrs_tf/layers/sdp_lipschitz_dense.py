import keras
import tensorflow as tf

from lsrs_tf.layers.arguments import positive_integer
from lsrs_tf.layers.fixed_residual_dense import residual_step
from lsrs_tf.layers.lipschitz_dense import LipschitzDense
from lsrs_tf.layers.weighted_layer import scale_of_large, without_large_values
from lsrs_tf.numerics.precision import matmul

# Added to q and to T, as in the authors' code: without it the layer collapses in training.
_SAFETY = 1e-6
# q is at most about exp(30).
_LARGEST_LOG_Q = 30.0


@keras.saving.register_keras_serializable("lsrs_tf")
class SDPLipschitzDense(LipschitzDense):
    """Dense residual layer `x - 2 W T^-1 relu(W' x + b)` with the Lipschitz constant 1 (SLL).

    Source: Araujo, Havens, Delattre, Allauzen and Hu, "A Unified Algebraic Perspective on Lipschitz
    Neural Networks" (2023), theorem 3; FaRS report, equation 1. W' is the transpose of W, and T is
    diagonal with T_i = sum_j |W'W|_ij q_j / q_i + 1e-6 for trained q = exp(log_q) + 1e-6 > 0. The
    activation is part of the layer.

    Proof. First, T >= W'W. With G = W'W and r = q_j / q_i, each pair i < j adds
    |G_ij| (r v_i^2 + v_j^2 / r) - 2 G_ij v_i v_j >= |G_ij| (sqrt(r) |v_i| - |v_j| / sqrt(r))^2 >= 0
    to v'(T - G)v, and each i adds (|G_ii| - G_ii) v_i^2 = 0 and 1e-6 v_i^2. This needs the absolute
    value, and q in both places. Second, for two inputs that differ by d, the two results of the
    activation differ by D W'd for a diagonal D with entries in [0, 1]. With u = W'd the outputs
    differ by d - 2 W T^-1 D u, whose squared norm is

        d'd - 4 u'T^-1 D u + 4 u'D T^-1 (W'W) T^-1 D u <= d'd - 4 u'T^-1 (D - D^2) u <= d'd.

    Inside there are `hidden_units` values, and the residual connection has as many as the larger of
    inputs and outputs: zeros are added before, or values cut off after it, which changes no
    constant.

    Args:
        units: int, the number of outputs.
        hidden_units: int, the number of values inside, or None for the larger of inputs and
            outputs.
        use_bias: bool, whether to add a bias inside the activation.
        **kwargs: the other arguments of `LipschitzDense`.

    Input shape: `[..., inputs]`, the last dimension known. Output shape: `[..., units]`.

    Raises:
        ValueError: if a number of units is not a positive integer, or the last dimension is
            unknown.

    Examples:
        >>> layer = SDPLipschitzDense(4, hidden_units=16)
        >>> layer(np.zeros((2, 4), np.float32)).shape
        TensorShape([2, 4])
    """

    def __init__(self, units, hidden_units=None, use_bias=True, **kwargs):
        super().__init__(units, use_bias, **kwargs)
        self.hidden_units = hidden_units
        if hidden_units is not None:
            self.hidden_units = positive_integer(hidden_units, "hidden_units", type(self).__name__)

    def add_kernels(self, inputs):
        """Creates `kernel` and `log_q`."""
        size = max(inputs, self.units)
        self.inner_size = self.hidden_units or size
        self.kernel = self.add_kernel((size, self.inner_size))
        self.log_q = self.add_weight(
            name="log_q", shape=(self.inner_size,), initializer="zeros", autocast=False
        )

    def add_bias(self, units):
        """Creates and returns the bias inside the activation, or None if the layer has none."""
        return super().add_bias(self.inner_size)

    def transformed_weights(self, dtype):
        """Returns W [max(inputs, units), hidden_units] and the diagonal of T, [hidden_units].

        Both belong to the kernel times `scale_of_large`: where W and the bias are multiplied by a
        number, and T by its square, the layer stays the same.

        Args:
            dtype: 'float32' or 'float64', the precision of the transform.
        """
        kernel = without_large_values(tf.cast(self.kernel, dtype))
        correlations = tf.abs(matmul(kernel, kernel, transpose_a=True))
        q = tf.exp(tf.minimum(tf.cast(self.log_q, dtype), _LARGEST_LOG_Q)) + _SAFETY
        # By logarithms, whose gradients are finite.
        log_q = tf.math.log(q)
        ratios = tf.exp(log_q[tf.newaxis, :] - log_q[:, tf.newaxis])
        return kernel, tf.reduce_sum(correlations * ratios, axis=1) + _SAFETY

    def transformed_bias(self, dtype):
        """Returns the bias that belongs to `transformed_weights`, or None if there is none."""
        if not self.use_bias:
            return None
        bias = tf.cast(self.bias, dtype)
        scale = scale_of_large(tf.cast(self.kernel, dtype))
        return tf.where(scale < 1, bias * scale, bias)

    def transformed(self, rows, dtype):
        """Returns the residual layer's outputs [rows, units] for rows [rows, inputs]."""
        return residual_step(
            rows, self.transformed_weights(dtype), self.transformed_bias(dtype), self.units
        )

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "hidden_units": self.hidden_units}
