import keras

from lsrs_tf.layers.bjorck_conv2d import ITERATIONS
from lsrs_tf.layers.lipschitz_dense import LipschitzDense
from lsrs_tf.layers.weighted_layer import scaled_kernel
from lsrs_tf.numerics.orthogonalization import REAL, bjorck


@keras.saving.register_keras_serializable("lsrs_tf")
class BjorckDense(LipschitzDense):
    """Dense layer with singular values near 1 and at most 1, by Björck's iteration.

    Sources: Björck and Bowie (1971), see `numerics.orthogonalization`; Anil, Lucas and Grosse,
    "Sorting out Lipschitz function approximation" (2019), section 4.2. The iteration of
    `BjorckConv2D` on one real matrix. Only the direction of the kernel matters.

    Arguments, shapes and errors are those of `LipschitzDense`.

    Examples:
        >>> BjorckDense(5)(np.zeros((2, 3), np.float32)).shape
        TensorShape([2, 5])
    """

    def add_kernels(self, inputs):
        """Creates `kernel`."""
        self.kernel = self.add_kernel((inputs, self.units))

    def matrix(self, dtype):
        """Returns what the iteration makes of the kernel."""
        return bjorck(scaled_kernel(self.kernel, 1.0, dtype), ITERATIONS, REAL)
