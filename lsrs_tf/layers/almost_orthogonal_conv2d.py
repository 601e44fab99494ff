import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.layers.near_identity import assign_centre
from lsrs_tf.layers.weighted_layer import without_large_values
from lsrs_tf.numerics.spectrum import absolute_correlations, kernel_spectrum

# Kernels of values below about 1e-10 are not rescaled to the full norm, so that gradients are
# finite in float32, also at zero.
_SMALLEST_SUM = 1e-20


@keras.saving.register_keras_serializable("lsrs_tf")
class AlmostOrthogonalConv2D(LipschitzConv2D):
    """Convolution with singular values of at most 1, by rescaled input channels (AOL).

    Source: Prach and Lampert, "Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz
    Networks" (2022), theorem 2. Channel i of the kernel is divided by the root of the sum of its
    absolute correlations with all channels at all shifts. It costs little; a random kernel loses
    much of the norm, training brings it close to orthogonal.

    Arguments, shapes and errors are those of `LipschitzConv2D`.

    Examples:
        >>> values = np.ones((1, 8, 8, 3), "float32")
        >>> layers.AlmostOrthogonalConv2D(6, 3, strides=2)(values).shape
        TensorShape([1, 4, 4, 6])
    """

    orthogonal = False

    def add_kernels(self):
        """Creates `kernel`."""
        self.kernel = self.add_kernel((*self.kernel_size, self.channels, self.filters))

    def assign_near_identity(self):
        """Assigns the identity at the centre of `kernel`, and noise.

        So does the code of the authors, without noise. With noise of norm e = .02 the rescaling
        divides channels by numbers between 1 - e and 1 + e: the norm of the layer's map minus the
        identity is at most 2e / (1 - e), below .05.
        """
        assign_centre(self.kernel, np.eye(self.filters))

    def transformed_weights(self, dtype):
        """Returns the rescaled kernel."""
        kernel = without_large_values(tf.cast(self.kernel, dtype))
        sums = tf.reduce_sum(absolute_correlations(kernel), axis=1)
        # A channel of zeros stays one.
        return (kernel * tf.math.rsqrt(tf.maximum(sums, _SMALLEST_SUM))[:, tf.newaxis],)

    def spectrum_of(self, weights, columns=None):
        """Returns the spectrum of the rescaled kernel."""
        (kernel,) = weights
        return kernel_spectrum(kernel, *self.image_size, columns)
