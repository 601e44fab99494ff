import keras

from lsrs_tf.layers.lipschitz_dense import LipschitzDense
from lsrs_tf.layers.weighted_layer import scaled_kernel
from lsrs_tf.numerics.cayley import cayley_matrix


@keras.saving.register_keras_serializable("lsrs_tf")
class OrthogonalDense(LipschitzDense):
    """Dense layer whose every singular value is 1, up to rounding.

    Source: Trockman and Kolter, "Orthogonalizing Convolutional Layers with the Cayley Transform"
    (2021), section 3: the transform of `OrthogonalConv2D` on one real matrix. With at least as many
    outputs as inputs the layer keeps all norms; with fewer it is an orthogonal projection and can
    only contract. Either way its Lipschitz constant is 1. Only the direction of the kernel matters.

    Arguments, shapes and errors are those of `LipschitzDense`.

    Examples:
        >>> layers.OrthogonalDense(3)(np.ones((2, 4), "float32")).shape
        TensorShape([2, 3])
    """

    def add_kernels(self, inputs):
        """Creates `kernel` and `gain`."""
        self.kernel = self.add_kernel((inputs, self.units))
        self.gain = self.add_gain(min(inputs, self.units))

    def matrix(self, dtype):
        """Returns the Cayley transform of the scaled kernel."""
        return cayley_matrix(scaled_kernel(self.kernel, self.gain, dtype))
