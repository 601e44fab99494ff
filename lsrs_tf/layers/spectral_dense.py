import keras

from lsrs_tf.layers.lipschitz_dense import LipschitzDense
from lsrs_tf.layers.weighted_layer import scaled_kernel
from lsrs_tf.numerics.orthogonalization import REAL, norm_bound


@keras.saving.register_keras_serializable("lsrs_tf")
class SpectralDense(LipschitzDense):
    """Dense layer whose kernel is divided by its spectral norm: the largest singular value is 1.

    Sources: Miyato, Kataoka, Koyama and Yoshida, "Spectral Normalization for Generative Adversarial
    Networks" (2018), equation 8; Delattre et al. (2023) for the norm, see
    `numerics.orthogonalization`. The norm is an upper bound by Gram iteration, up to 3 % too large,
    and not an estimate from below by a power iteration. What a certificate rests on is neither:
    `lsrs_tf.lipschitz_bound` proves the norm of the divided kernel.

    Arguments, shapes and errors are those of `LipschitzDense`.

    Examples:
        >>> SpectralDense(5)(np.zeros((2, 3), np.float32)).shape
        TensorShape([2, 5])
    """

    def add_kernels(self, inputs):
        """Creates `kernel`."""
        self.kernel = self.add_kernel((inputs, self.units))

    def matrix(self, dtype):
        """Returns the kernel, divided by a bound of its norm."""
        kernel = scaled_kernel(self.kernel, 1.0, dtype)
        return kernel / norm_bound(kernel, REAL)
