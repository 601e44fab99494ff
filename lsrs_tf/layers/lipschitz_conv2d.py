import keras
import tensorflow as tf

from lsrs_tf.layers.arguments import known_image_shape, positive_integer, positive_pair
from lsrs_tf.layers.invertible_downsampling import InvertibleDownsampling
from lsrs_tf.layers.weighted_layer import WeightedLayer
from lsrs_tf.numerics.precision import transform_dtype
from lsrs_tf.numerics.spectrum import (
    apply_pointwise,
    apply_spectrum,
    apply_spectrum_by_columns,
)

# A spectrum of more bytes than this is evaluated by columns, and never stored.
SPECTRUM_LIMIT = 2**26

# What users of keras.layers.Conv2D look for.
_ELSEWHERE = {
    "padding": "its padding is circular",
    "activation": "put an activation that keeps norms after it, such as layers.GroupSort()",
    "data_format": "its data is channels last",
}


class LipschitzConv2D(WeightedLayer):
    """Base of the circular convolutions with a Lipschitz constant of at most 1.

    Padding is circular, data is channels last. A stride s is an invertible downsampling by s
    (`s * s` times the channels, and nothing lost) followed by a convolution of stride 1, so that
    `kernel_size` counts pixels of the downsampled image.

    All subclasses take the same arguments, so that an encoder can swap one for another; they
    differ in how they turn their weights into a spectrum (see `numerics.spectrum`):
    `transformed_weights` does what concerns all frequencies, `spectrum_of` what is done for
    each, so that large spectra can be evaluated by columns.

    Args:
        filters: int, the number of output channels.
        kernel_size: int or pair of ints, at most the size of the image (after the stride).
        strides: int or pair of ints; they must divide the image.
        use_bias: bool, whether to add a bias.
        kernel_initializer: initializer of the kernel.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernel.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of the kernel.
        bias_constraint: constraint of the bias.

    Attributes:
        orthogonal: bool, whether every singular value is 1 (else at most 1).

    Input shape: `[batch, height, width, channels]`, all but the batch known.

    Output shape: `[batch, height / strides, width / strides, filters]`.

    Raises:
        ValueError: if the kernel is larger than the image, the strides do not divide it, or a size
            is unknown.

    Examples:
        >>> layer = layers.OrthogonalConv2D(4, kernel_size=3)
        >>> isinstance(layer, layers.LipschitzConv2D)
        True
        >>> layer(np.ones((1, 8, 8, 4), "float32")).shape
        TensorShape([1, 8, 8, 4])
        >>> layer.matrix_size()
        (4, 4)
    """

    orthogonal = True

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        use_bias=True,
        kernel_initializer="glorot_normal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        for argument, advice in _ELSEWHERE.items():
            if argument in kwargs:
                raise ValueError(
                    f"{type(self).__name__} has no argument `{argument}`: {advice}. "
                    f"Received: {argument}={kwargs[argument]!r}"
                )
        super().__init__(
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            kernel_constraint,
            bias_constraint,
            **kwargs,
        )
        name = type(self).__name__
        self.filters = positive_integer(filters, "filters", name)
        self.kernel_size = positive_pair(kernel_size, "kernel_size", name)
        self.strides = positive_pair(strides, "strides", name)
        self.downsampling = InvertibleDownsampling(self.strides, dtype=self.dtype_policy)

    def build(self, input_shape):
        """Creates the weights."""
        name = f"{type(self).__name__} '{self.name}'"
        height, width, _ = known_image_shape(input_shape, name)
        if height % self.strides[0] or width % self.strides[1]:
            raise ValueError(
                f"{name} needs strides that divide the height and width of its input. Received: "
                f"strides={self.strides} for input_shape={tuple(input_shape)}. Pad or resize the "
                "images, or choose other strides."
            )
        self.downsampling.build(input_shape)
        # Pinned: at another size this would be another map, with another Lipschitz constant.
        self.input_spec = keras.layers.InputSpec(shape=(None, *input_shape[1:]))
        _, height, width, channels = self.downsampling.compute_output_shape(input_shape)
        if self.kernel_size[0] > height or self.kernel_size[1] > width:
            raise ValueError(
                f"{name} needs a kernel no larger than the image it convolves. "
                f"Received: kernel_size={self.kernel_size} for an image of {height} x {width} "
                f"pixels after strides={self.strides}. Use a smaller kernel or smaller strides."
            )
        # The matrices of a 1 x 1 kernel are the same at all frequencies: one pixel has them all.
        self.is_pointwise = self.kernel_size == (1, 1)
        self.image_size = (1, 1) if self.is_pointwise else (height, width)
        self.channels = channels
        self.add_kernels()
        self.bias = self.add_bias(self.filters)
        self.built = True

    def add_kernels(self) -> None:
        """Creates all weights but the bias; to be overridden."""
        raise NotImplementedError(
            "LipschitzConv2D is what its subclasses have in common. Use OrthogonalConv2D, or "
            "layers.convolution(name)."
        )

    def transformed_weights(self, dtype: str) -> tuple[tf.Tensor, ...]:
        """Returns what `spectrum_of` needs, a tuple of tensors; to be overridden.

        Args:
            dtype: 'float32' or 'float64', the precision of the transform.
        """
        raise NotImplementedError

    def spectrum_of(
        self, weights: tuple[tf.Tensor, ...], columns: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the spectrum, or some columns of it; to be overridden.

        Args:
            weights: what `transformed_weights` returned.
            columns: int tensor of columns of the half spectrum, or None for all of them.

        Returns:
            Tensor [columns, height, 2 * rows, columns of a matrix], see `matrix_size`; height and
            width after the strides.
        """
        raise NotImplementedError

    def spectrum(self, dtype: str) -> tf.Tensor:
        """Returns the whole spectrum for the present weights.

        Args:
            dtype: 'float32' or 'float64', the precision of the transform.

        Returns:
            Tensor [width // 2 + 1, height, 2 * rows, columns], the real parts of the matrices above
            the imaginary ones, see `matrix_size`; height and width after the strides, and those of
            one pixel for a kernel of 1 x 1.
        """
        return self.spectrum_of(self.transformed_weights(dtype))

    def begin_near_identity(self) -> None:
        """Assigns weights with which the layer begins near the identity.

        A chain of layers with random orthogonal maps and sorting loses distances between images
        from the start, and layers with singular values below 1 lose almost all of them; a chain
        that begins near the identity keeps them, and training starts from there. For a layer that
        was built and not trained: weights are computed from the initial ones, which remain as noise
        so that all of them get gradients. `assign_near_identity` of each class says how, and how
        near. Biases are left as they are.

        Raises:
            ValueError: if the layer was not built, changes the shape of its input, which the
                identity does not, or has a size for which its class has no such weights.
            NotImplementedError: if the class does not know such weights.

        Examples:
            >>> layer = layers.BjorckConv2D(4, 3)
            >>> values = np.random.default_rng(0).normal(size=(1, 8, 8, 4)).astype("float32")
            >>> layer.build(values.shape)
            >>> layer.begin_near_identity()
            >>> bool(np.linalg.norm(layer(values) - values) < 0.04 * np.linalg.norm(values))
            True
        """
        name = f"{type(self).__name__} '{self.name}'"
        if not self.built:
            raise ValueError(
                f"{name} has no weights yet that could begin near the identity. Received: a layer "
                "that is not built. Call it, put it into a model, or build it before."
            )
        if self.strides != (1, 1) or self.channels != self.filters:
            raise ValueError(
                f"{name} can begin near the identity only with strides of 1 and as many filters as "
                f"its input has channels. Received: strides={self.strides}, "
                f"filters={self.filters} for {self.channels} channels after the strides. Leave its "
                "weights as they are, or put layers.InvertibleDownsampling before it."
            )
        self.assign_near_identity()

    def assign_near_identity(self) -> None:
        """Assigns what `begin_near_identity` promises; to be overridden.

        The layer is built, has strides of 1, and as many filters as channels.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not say how it begins near the identity. Override "
            "`assign_near_identity`, or leave its weights as they are."
        )

    def matrix_size(self) -> tuple[int, int]:
        """Returns the numbers of rows and columns of the matrix of one frequency.

        Filters and channels, after the strides have made more of the latter, in all linear layers.
        """
        return self.filters, self.channels

    def spectrum_is_large(self, dtype):
        """Returns whether the spectrum is evaluated by columns instead of as a whole."""
        height, width = self.image_size
        rows, columns = self.matrix_size()
        values = (width // 2 + 1) * height * 2 * rows * columns
        return values * tf.as_dtype(dtype).size > SPECTRUM_LIMIT

    def call(self, inputs):
        """Returns the convolution of `inputs`."""
        dtype = transform_dtype(self)
        images = tf.cast(self.downsampling(inputs), dtype)
        outputs = self.transformed(images, self.transformed_weights(dtype))
        return tf.cast(outputs, self.compute_dtype)

    def transformed(self, images, weights):
        """Returns the outputs for downsampled images and what `transformed_weights` returned."""
        outputs = self.convolved(images, self.filters, self.spectrum_of, weights)
        return outputs + tf.cast(self.bias, images.dtype) if self.use_bias else outputs

    def convolved(self, images, filters, spectrum_of, weights):
        """Convolves images with a spectrum, by columns where it is large."""
        if self.is_pointwise:
            return apply_pointwise(images, spectrum_of(weights))
        if self.spectrum_is_large(images.dtype):
            return apply_spectrum_by_columns(images, filters, spectrum_of, weights)
        return apply_spectrum(images, spectrum_of(weights))

    def compute_output_shape(self, input_shape):
        """Returns the output shape for `input_shape`."""
        known_image_shape(input_shape, type(self).__name__)
        return (*self.downsampling.compute_output_shape(input_shape)[:3], self.filters)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
        }
