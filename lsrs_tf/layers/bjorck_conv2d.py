import keras
import numpy as np

from lsrs_tf.layers.lipschitz_conv2d import LipschitzConv2D
from lsrs_tf.layers.near_identity import assign_centre
from lsrs_tf.layers.weighted_layer import scaled_kernel
from lsrs_tf.numerics.orthogonalization import STACKED, bjorck
from lsrs_tf.numerics.spectrum import kernel_spectrum

# Singular values of at least a hundredth of the largest one come within 1e-6 of 1.
ITERATIONS = 15


@keras.saving.register_keras_serializable("lsrs_tf")
class BjorckConv2D(LipschitzConv2D):
    """Convolution with singular values near 1 and at most 1, by Björck's iteration.

    Sources: Björck and Bowie (1971), see `numerics.orthogonalization`; Anil, Lucas and Grosse,
    "Sorting out Lipschitz function approximation" (2019), section 4.2, for dense layers. Here the
    iteration runs on the matrix of each frequency, with 15 steps. Only the direction of the kernel
    matters. Singular values that are tiny compared with the largest one of their frequency stay
    below 1; none is above.

    Arguments, shapes and errors are those of `LipschitzConv2D`.

    Examples:
        >>> BjorckConv2D(4, 3)(np.zeros((2, 8, 8, 3), np.float32)).shape
        TensorShape([2, 8, 8, 4])
    """

    orthogonal = False

    def add_kernels(self):
        """Creates `kernel`."""
        self.kernel = self.add_kernel((*self.kernel_size, self.channels, self.filters))

    def assign_near_identity(self):
        """Assigns the identity at the centre of `kernel`, and noise.

        With noise of norm e = .02 the nearest orthogonal map, to which the iteration leads, is
        within e of the kernel: the norm of the layer's map minus the identity is at most 2e, .04.
        """
        assign_centre(self.kernel, np.eye(self.filters))

    def transformed_weights(self, dtype):
        """Returns the kernel, scaled to the norm 1."""
        return (scaled_kernel(self.kernel, 1.0, dtype),)

    def spectrum_of(self, weights, columns=None):
        """Returns what the iteration makes of the kernel's spectrum."""
        (kernel,) = weights
        return bjorck(kernel_spectrum(kernel, *self.image_size, columns), ITERATIONS, STACKED)
