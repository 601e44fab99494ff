import keras

from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.layers.near_identity import GAIN_SHARE
from lsrs_tf.layers.weighted_layer import scaled_kernel
from lsrs_tf.numerics.cayley import cayley_spectrum
from lsrs_tf.numerics.spectrum import kernel_spectrum


@keras.saving.register_keras_serializable("lsrs_tf")
class OrthogonalConv2D(LipschitzConv2D):
    """Convolution whose every singular value is 1, by the Cayley transform.

    The kernel is transformed to the Fourier domain, where the Cayley transform makes the matrix of
    every frequency orthogonal (Trockman and Kolter 2021; LS-RS paper, equations 10 and 11). With
    at least as many outputs as inputs the layer keeps all norms; with fewer it is an orthogonal
    projection and can only contract. Either way its Lipschitz constant is 1.

    The kernel enters as `gain * kernel / norm(kernel)`, with a trained scalar `gain`: its size says
    how far the layer departs from the identity, and it is independent of the kernel's own size.

    Arguments, shapes and errors are those of `LipschitzConv2D`.

    Examples:
        >>> values = np.ones((1, 8, 8, 3), "float32")
        >>> layers.OrthogonalConv2D(6, 3, strides=2)(values).shape
        TensorShape([1, 4, 4, 6])
    """

    def add_kernels(self):
        """Creates `kernel` and `gain`."""
        self.kernel = self.add_kernel((*self.kernel_size, self.channels, self.filters))
        self.gain = self.add_gain(min(self.channels, self.filters))

    def assign_near_identity(self):
        """Leaves a fifth of `gain`, so that the Cayley transform is that of a small matrix.

        The relative change of an image is about .3, and the norm of the layer's map minus the
        identity about .6, for random kernels of any number of channels.
        """
        self.gain.assign(GAIN_SHARE * self.gain)

    def transformed_weights(self, dtype):
        """Returns the scaled kernel."""
        return (scaled_kernel(self.kernel, self.gain, dtype),)

    def spectrum_of(self, weights, columns=None):
        """Returns the Cayley transform of the kernel's spectrum."""
        (kernel,) = weights
        return cayley_spectrum(kernel_spectrum(kernel, *self.image_size, columns))
