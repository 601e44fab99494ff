import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.numerics import complex_pairs
from lsrs_tf.numerics.correlation import absolute_correlations
from lsrs_tf.numerics.spectrum import kernel_spectrum


@keras.saving.register_keras_serializable("lsrs_tf")
class SDPLipschitzConv2D(LipschitzConv2D):
    """Residual layer `x - 2 W* T^-1 relu(W x + b)` with the Lipschitz constant 1 (SLL).

    Source: Araujo, Havens, Delattre, Allauzen and Hu, "A Unified Algebraic Perspective on Lipschitz
    Neural Networks" (2023), theorem 3: it is 1-Lipschitz if the diagonal T is at least WW*. Here
    T_i = sum_j |WW*|_ij q_j / q_i over all channels j and shifts, with trained q = exp(log_q): the
    absolute values and both places of q are what makes T - WW* diagonally dominant. The activation
    is part of the layer.

    Inside there are as many channels as the larger of inputs and outputs; channels of zeros are
    added before, or channels cut off after it.

    Arguments, shapes and errors are those of `LipschitzConv2D`; the bias is that inside the
    activation.
    """

    orthogonal = False

    def add_kernels(self):
        """Creates `kernel` and `log_q`."""
        self.units = max(self.channels, self.filters)
        self.kernel = self.add_kernel((*self.kernel_size, self.units, self.units))
        self.log_q = self.add_weight(
            name="log_q", shape=(self.units,), initializer="zeros", autocast=False
        )

    def add_bias(self, units):
        """Creates and returns the bias inside the activation, or None if the layer has none."""
        return super().add_bias(self.units)

    def transformed_weights(self, dtype):
        """Returns the kernel and the diagonal of T, [units]."""
        kernel = tf.cast(self.kernel, dtype)
        # Correlations of outputs are those of inputs of the transposed kernel.
        correlations = absolute_correlations(tf.transpose(kernel, [0, 1, 3, 2]))
        log_q = tf.cast(self.log_q, dtype)
        ratios = tf.exp(log_q[tf.newaxis, :] - log_q[:, tf.newaxis])
        diagonal = tf.reduce_sum(correlations * ratios, axis=1)
        # A channel of zeros stays one.
        return kernel, tf.maximum(diagonal, np.finfo(dtype).tiny)

    def spectrum_of(self, weights, columns=None):
        """Returns the spectrum of W, without T."""
        return kernel_spectrum(weights[0], *self.image_size, columns)

    def matrix_size(self):
        """Returns the numbers of rows and columns of W at each frequency."""
        return self.units, self.units

    def transformed(self, images, weights):
        """Returns the residual layer's outputs for downsampled images."""
        added = self.units - self.channels
        images = tf.pad(images, [[0, 0], [0, 0], [0, 0], [0, added]])
        hidden = self.convolved(images, self.units, self.spectrum_of, weights)
        if self.use_bias:
            hidden += tf.cast(self.bias, images.dtype)
        hidden = tf.nn.relu(hidden) / weights[1]
        step = self.convolved(hidden, self.units, self._adjoint_spectrum_of, weights)
        return (images - 2 * step)[..., : self.filters]

    def _adjoint_spectrum_of(self, weights, columns=None):
        return complex_pairs.adjoint(self.spectrum_of(weights, columns))
