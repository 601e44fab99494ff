import keras
import tensorflow as tf

from lsrs_tf.layers.lipschitz_dense import LipschitzDense
from lsrs_tf.layers.skew_orthogonal_conv2d import exponential_of_skew
from lsrs_tf.layers.weighted_layer import scaled_kernel
from lsrs_tf.numerics.orthogonalization import REAL


@keras.saving.register_keras_serializable("lsrs_tf")
class ExponentialDense(LipschitzDense):
    """Dense layer whose every singular value is 1, by the exponential of a skew matrix.

    Source: Singla and Feizi, "Skew Orthogonal Convolutions" (2021), theorem 1, on one real matrix:
    the exponential of A = W - W' is orthogonal, because (exp A)' = exp(-A). The series and its
    truncation are those of `SkewOrthogonalConv2D`. With unequal numbers of inputs and outputs the
    exponential has the larger size, and the rows or columns that are too many are cut off.

    The kernel enters as `gain * kernel / norm(kernel)`, with a trained scalar `gain`.

    Arguments, shapes and errors are those of `LipschitzDense`.

    Examples:
        >>> ExponentialDense(5)(np.zeros((2, 3), np.float32)).shape
        TensorShape([2, 5])
    """

    def add_kernels(self, inputs):
        """Creates `kernel` and `gain`."""
        self.inputs = inputs
        size = max(inputs, self.units)
        self.kernel = self.add_kernel((size, size))
        self.gain = self.add_gain(size)

    def matrix(self, dtype):
        """Returns the exponential of the skew part of the scaled kernel, cut to size."""
        kernel = scaled_kernel(self.kernel, self.gain, dtype)
        skew = kernel - tf.linalg.matrix_transpose(kernel)
        return exponential_of_skew(skew, REAL)[: self.inputs, : self.units]
