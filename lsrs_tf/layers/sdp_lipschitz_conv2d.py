import keras
import tensorflow as tf

from lsrs_tf.layers.arguments import positive_integer
from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.layers.near_identity import assign_centre, differences_in_pairs
from lsrs_tf.layers.weighted_layer import scale_of_large, without_large_values
from lsrs_tf.numerics import complex_pairs
from lsrs_tf.numerics.spectrum import absolute_correlations, kernel_spectrum

# The least T. Where the kernel of a hidden channel is shorter than about 1e-6 it changes the output
# the less, the shorter it is: a kernel of zeros passes the image through whatever its bias is, and
# gradients are finite in float32.
_SMALLEST_DIAGONAL = 1e-12
# Ratios of q lie between exp(-30) and exp(30).
_LARGEST_LOG_RATIO = 30.0


@keras.saving.register_keras_serializable("lsrs_tf")
class SDPLipschitzConv2D(LipschitzConv2D):
    """Residual layer `x - 2 W* T^-1 relu(W x + b)` with the Lipschitz constant 1 (SLL).

    Source: Araujo, Havens, Delattre, Allauzen and Hu, "A Unified Algebraic Perspective on Lipschitz
    Neural Networks" (2023), theorem 3: it is 1-Lipschitz if the diagonal T is at least WW*. Here
    T_i = sum_j |WW*|_ij q_j / q_i over all channels j and shifts, with trained q = exp(log_q): the
    absolute values and both places of q are what makes T - WW* diagonally dominant. The activation
    is part of the layer.

    Ratios of q are limited to exp(30) and, alike, to exp(-30), and T is at least 1e-12. Both keep
    T >= WW*: for every pair of channels the two ratios still have the product 1, so that T - WW* is
    a sum of positive semidefinite matrices [[a r, -a], [-a, a / r]] and of what T is larger by.

    The residual connection has as many channels as the larger of inputs and outputs; channels of
    zeros are added before, or channels cut off after it.

    Arguments, shapes and errors are those of `LipschitzConv2D`; the bias is that inside the
    activation. There is one more:

    Args:
        hidden_filters: int, the number of channels inside the activation, or None for the larger of
            inputs and outputs.

    Examples:
        >>> layer = SDPLipschitzConv2D(4, 3, hidden_filters=16)
        >>> layer(np.zeros((2, 8, 8, 3), np.float32)).shape
        TensorShape([2, 8, 8, 4])
    """

    orthogonal = False

    def __init__(self, filters, kernel_size, strides=1, *args, hidden_filters=None, **kwargs):
        super().__init__(filters, kernel_size, strides, *args, **kwargs)
        self.hidden_filters = hidden_filters
        if hidden_filters is not None:
            name = type(self).__name__
            self.hidden_filters = positive_integer(hidden_filters, "hidden_filters", name)

    def add_kernels(self):
        """Creates `kernel` and `log_q`."""
        self.units = max(self.channels, self.filters)
        self.hidden = self.hidden_filters or self.units
        self.kernel = self.add_kernel((*self.kernel_size, self.units, self.hidden))
        self.log_q = self.add_weight(
            name="log_q", shape=(self.hidden,), initializer="zeros", autocast=False
        )

    def assign_near_identity(self):
        """Assigns a sorting of neighbouring channels, which a `GroupSort` behind it takes back.

        A small kernel makes no small step: T shrinks with its square. A random one moves an image
        of 48 channels by 6 % only, but what it subtracts is lost: six layers keep .8 of small
        distances. Here the hidden channels are the differences of the channels, pair by pair, and
        what the layer subtracts exchanges the channels of a pair if the second one is larger. That
        keeps all distances of images for which the same pairs are exchanged, and `GroupSort` of it
        is that of the channels: behind it nothing is changed but by the noise, which changes an
        image by about 2 %, and by no more than about 5 %.

        In a chain that has a `GroupSort` behind every layer, the second channel of a pair is the
        larger one, so that all these hidden channels are active and get gradients. Behind a layer
        of this class alone they would not be. Hidden channels for which there is no pair begin as
        noise.
        """
        if self.units < 2:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' of one channel has no start near the "
                f"identity. Received: filters={self.filters}. Use two channels or more, or another "
                "parametrization."
            )
        assign_centre(self.kernel, differences_in_pairs(self.units, self.hidden))

    def add_bias(self, units):
        """Creates and returns the bias inside the activation, or None if the layer has none."""
        return super().add_bias(self.hidden)

    def transformed_weights(self, dtype):
        """Returns the kernel and the diagonal of T, [hidden channels].

        Both belong to the kernel times `scale_of_large`: where W and the bias are multiplied by a
        number, and T by its square, the layer stays the same.
        """
        kernel = without_large_values(tf.cast(self.kernel, dtype))
        # Correlations of outputs are those of inputs of the transposed kernel.
        correlations = absolute_correlations(tf.transpose(kernel, [0, 1, 3, 2]))
        log_q = tf.cast(self.log_q, dtype)
        log_ratios = log_q[tf.newaxis, :] - log_q[:, tf.newaxis]
        ratios = tf.exp(tf.clip_by_value(log_ratios, -_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO))
        diagonal = tf.reduce_sum(correlations * ratios, axis=1)
        return kernel, tf.maximum(diagonal, _SMALLEST_DIAGONAL)

    def transformed_bias(self, dtype):
        """Returns the bias that belongs to `transformed_weights`, or None if there is none."""
        if not self.use_bias:
            return None
        bias = tf.cast(self.bias, dtype)
        scale = scale_of_large(tf.cast(self.kernel, dtype))
        return tf.where(scale < 1, bias * scale, bias)

    def spectrum_of(self, weights, columns=None):
        """Returns the spectrum of W, without T."""
        return kernel_spectrum(weights[0], *self.image_size, columns)

    def matrix_size(self):
        """Returns the numbers of rows and columns of W at each frequency."""
        return self.hidden, self.units

    def transformed(self, images, weights):
        """Returns the residual layer's outputs for downsampled images."""
        added = self.units - self.channels
        images = tf.pad(images, [[0, 0], [0, 0], [0, 0], [0, added]])
        hidden = self.convolved(images, self.hidden, self.spectrum_of, weights)
        bias = self.transformed_bias(images.dtype)
        if bias is not None:
            hidden += bias
        hidden = tf.nn.relu(hidden) / weights[1]
        step = self.convolved(hidden, self.units, self._adjoint_spectrum_of, weights)
        return (images - 2 * step)[..., : self.filters]

    def _adjoint_spectrum_of(self, weights, columns=None):
        return complex_pairs.adjoint(self.spectrum_of(weights, columns))

    def get_config(self):
        """Returns the constructor's arguments."""
        config = super().get_config()
        # Left out where it is not given, so that fingerprints of earlier models stay the same.
        if self.hidden_filters is not None:
            config["hidden_filters"] = self.hidden_filters
        return config
