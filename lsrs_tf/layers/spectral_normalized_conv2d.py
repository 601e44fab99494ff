import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.layers.near_identity import assign_centre
from lsrs_tf.layers.weighted_layer import scaled_kernel
from lsrs_tf.numerics.orthogonalization import STACKED, norm_bound
from lsrs_tf.numerics.spectrum import kernel_spectrum


@keras.saving.register_keras_serializable("lsrs_tf")
class SpectralNormalizedConv2D(LipschitzConv2D):
    """Convolution whose kernel is divided by the norm of the convolution: the largest value is 1.

    Sources: Miyato, Kataoka, Koyama and Yoshida, "Spectral Normalization for Generative Adversarial
    Networks" (2018), section 2.1; Delattre et al. (2023) for the norm, see
    `numerics.orthogonalization`. Miyato et al. take the norm of the reshaped kernel, which is not
    that of the convolution, and approach it from below by a power iteration. Here it is an upper
    bound of the norms at all frequencies, in training, too. The layer has no state: nothing is
    left to converge. What a certificate rests on is neither: `lsrs_tf.lipschitz_bound` proves the
    norm of the divided kernel.

    One singular value is about 1 (the bound is up to 3 % too large), and all others are at most
    that; a random kernel loses much of the norm. It is the parametrization `spectral`. The layer of
    a frozen encoder, `SpectralConv2D`, is another one.

    Arguments, shapes and errors are those of `LipschitzConv2D`.

    Examples:
        >>> SpectralNormalizedConv2D(4, 3)(np.zeros((2, 8, 8, 3), np.float32)).shape
        TensorShape([2, 8, 8, 4])
    """

    orthogonal = False

    def add_kernels(self):
        """Creates `kernel`."""
        self.kernel = self.add_kernel((*self.kernel_size, self.channels, self.filters))

    def assign_near_identity(self):
        """Assigns the identity at the centre of `kernel`, and noise.

        With noise of norm e = .02 and a divisor d, between 1 - e and c^(1/128) (1 + e) for c
        channels, the norm of the layer's map minus the identity is at most
        max(1 - (1 - e) / d, (1 + e) / d - 1): below .1 for c up to 1,000.
        """
        assign_centre(self.kernel, np.eye(self.filters))

    def transformed_weights(self, dtype):
        """Returns the kernel, divided by the largest bound of all frequencies."""
        kernel = scaled_kernel(self.kernel, 1.0, dtype)

        @tf.recompute_grad
        def largest_norm(columns, kernel):
            spectrum = kernel_spectrum(kernel, *self.image_size, columns)
            return tf.reduce_max(norm_bound(spectrum, STACKED))

        columns = tf.range(self.image_size[1] // 2 + 1)
        if self.spectrum_is_large(dtype):
            # One column of frequencies in memory at a time.
            norms = tf.map_fn(
                lambda column: largest_norm(column[tf.newaxis], kernel),
                columns,
                fn_output_signature=tf.TensorSpec([], kernel.dtype),
                parallel_iterations=1,
            )
            return (kernel / tf.reduce_max(norms),)
        return (kernel / largest_norm(columns, kernel),)

    def spectrum_of(self, weights, columns=None):
        """Returns the spectrum of the divided kernel."""
        (kernel,) = weights
        return kernel_spectrum(kernel, *self.image_size, columns)
