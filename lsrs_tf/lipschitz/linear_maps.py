"""Linear maps of layers as they are, so that neighbours can be folded into one before bounding.

The norm of a product of maps is often far below the product of their norms: a normalization undoes
the scales of the filters before it. Constants that layers add (biases, shifts) do not matter for
distances and are left out. Every map knows how far its numbers may be from those of the exact
product of layers (`uncertainty`), which is added to its norm.
"""

import abc
import dataclasses

import numpy as np

from lsrs_tf.lipschitz import convolutions
from lsrs_tf.lipschitz.evaluation import (
    UNIT_ROUNDOFF,
    absolute_norm_of_kernel,
    absolute_norm_of_matrices,
    gamma,
)
from lsrs_tf.numerics import spectral_norm
from lsrs_tf.numerics.rounding import round_up


class LinearMap(abc.ABC):
    """A linear map of the values of an image, or of their channels."""

    @abc.abstractmethod
    def norm(self):
        """Returns (bound of the spectral norm, smallest singular value or None, method)."""

    @abc.abstractmethod
    def matrix(self):
        """Returns the map as a `Matrix` of all values, or None if that would be large."""


class Unchanged(LinearMap):
    """The identity: layers that do nothing in inference."""

    def norm(self):
        """Returns the norm of the identity."""
        return 1.0, 1.0, "identity"

    def matrix(self):
        """Returns None: the number of values is not known here."""
        return


@dataclasses.dataclass(frozen=True)
class Flattened(LinearMap):
    """Rows of pixels written one after the other: `values` values of so many `channels`."""

    values: int
    channels: int

    def norm(self):
        """Returns the norm of the identity."""
        return 1.0, 1.0, "identity"

    def matrix(self):
        """Returns the identity."""
        small = convolutions.is_small(self.values, self.values)
        return Matrix(np.eye(self.values)) if small else None


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelScaling(LinearMap):
    """A factor for each channel, the last dimension.

    Attributes:
        factors: float64 array [channels].
        roundings: int, roundings of each factor.
    """

    factors: np.ndarray
    roundings: int = 0

    def norm(self):
        """Returns the largest factor."""
        largest = float(np.max(np.abs(self.factors)))
        slack = 1 + self.roundings * 2 * UNIT_ROUNDOFF if self.roundings else 1.0
        return largest * slack, float(np.min(np.abs(self.factors))), "largest factor"

    def matrix(self):
        """Returns None: factors are folded one by one."""
        return


@dataclasses.dataclass(frozen=True, eq=False)
class Convolution(LinearMap):
    """A convolution with zero padding, as Keras has it; see `convolutions.of_convolution`."""

    kernel: np.ndarray
    image_size: tuple
    strides: tuple
    padding: str
    dilation: tuple
    groups: int
    uncertainty: float = 0.0

    def norm(self):
        """Returns the norm of the convolution."""
        bound, smallest, method = convolutions.of_convolution(
            self.kernel, self.image_size, self.strides, self.padding, self.dilation, self.groups
        )
        return _and(bound, self.uncertainty), smallest, method

    def matrix(self):
        """Returns the convolution as a matrix, if it is small."""
        matrix = convolutions.small_matrix(
            self.kernel, self.image_size, self.strides, self.padding, self.dilation, self.groups
        )
        return None if matrix is None else Matrix(matrix.T, self.uncertainty)

    @property
    def channels(self):
        """Number of input channels."""
        return self.kernel.shape[2] * self.groups

    @property
    def is_pointwise(self):
        """Whether it is one matrix, the same for every pixel."""
        return self.kernel.shape[:2] == (1, 1) and self.strides == (1, 1) and self.groups == 1

    def scaled(self, kernel_factors, roundings):
        """Returns this convolution with a kernel that is multiplied by factors.

        Args:
            kernel_factors: float64 array that broadcasts with the kernel.
            roundings: int, roundings of each factor.
        """
        kernel = self.kernel * kernel_factors
        largest = float(np.max(np.abs(kernel_factors)))
        return dataclasses.replace(
            self,
            kernel=kernel,
            uncertainty=_and(
                gamma(roundings + 1) * absolute_norm_of_kernel(kernel, self.groups),
                largest * self.uncertainty,
            ),
        )

    def without_groups(self):
        """Returns the kernel as [height, width, channels, filters] of one group."""
        if self.groups == 1:
            return self.kernel
        height, width, inputs, filters = self.kernel.shape
        whole = np.zeros((height, width, inputs * self.groups, filters))
        outputs = filters // self.groups
        for group in range(self.groups):
            into = slice(group * outputs, (group + 1) * outputs)
            whole[:, :, group * inputs : (group + 1) * inputs, into] = self.kernel[..., into]
        return whole


@dataclasses.dataclass(frozen=True, eq=False)
class Matrix(LinearMap):
    """A matrix [outputs, inputs] that multiplies all values of an image at once."""

    values: np.ndarray
    uncertainty: float = 0.0

    def norm(self):
        """Returns the spectral norm."""
        bound, smallest = spectral_norm.of_matrices(self.values)
        return _and(bound, self.uncertainty), smallest, "matrix"

    def matrix(self):
        """Returns itself."""
        return self


def fold(first, second):
    """Returns the product of two maps, `first` being applied first, or None if it is not known.

    Args:
        first: `LinearMap`.
        second: `LinearMap`.
    """
    if isinstance(first, Unchanged | Flattened):
        # What follows takes the values in the order in which they are.
        return second
    if isinstance(second, Unchanged):
        return first
    for kinds, product in _PRODUCTS.items():
        if isinstance(first, kinds[0]) and isinstance(second, kinds[1]):
            result = product(first, second)
            if result is not None:
                return result
    return _product_of_matrices(first, second)


def _scale_twice(first, second):
    return ChannelScaling(first.factors * second.factors, first.roundings + second.roundings + 1)


def _scale_then_flatten(scaling, flattened):
    repeated = np.tile(scaling.factors, flattened.values // flattened.channels)
    return ChannelScaling(repeated, scaling.roundings)


def _scale_then_convolve(scaling, convolution):
    per_group = scaling.factors.reshape(convolution.groups, -1).T
    filters = convolution.kernel.shape[3] // convolution.groups
    return convolution.scaled(np.repeat(per_group, filters, axis=1), scaling.roundings)


def _convolve_then_scale(convolution, scaling):
    return convolution.scaled(scaling.factors, scaling.roundings)


def _scale_then_multiply(scaling, matrix):
    factors = _for_all_values(scaling, matrix.values.shape[1])
    return None if factors is None else _scaled_matrix(matrix, factors, scaling)


def _multiply_then_scale(matrix, scaling):
    factors = _for_all_values(scaling, matrix.values.shape[0])
    return None if factors is None else _scaled_matrix(matrix, factors[:, np.newaxis], scaling)


def _for_all_values(scaling, values):
    """Returns a factor for each of so many values, whose channels come last; None if none fits."""
    pixels, rest = divmod(values, len(scaling.factors))
    return None if rest else np.tile(scaling.factors, pixels)


def _scaled_matrix(matrix, factors, scaling):
    values = matrix.values * factors
    largest = float(np.max(np.abs(factors)))
    rounding = gamma(scaling.roundings + 1) * absolute_norm_of_matrices(values)
    return Matrix(values, _and(rounding, largest * matrix.uncertainty))


def _convolve_twice(first, second):
    """Folds a convolution with a pointwise one before or after it."""
    if second.is_pointwise:
        frame = first
    elif first.is_pointwise:
        frame = second
    else:
        return None
    left, right = first.without_groups(), second.without_groups()
    kernel = _taps_product(left, right)
    absolute = _taps_product(np.abs(left), np.abs(right))
    uncertainty = (
        gamma(left.shape[3] + 1) * absolute_norm_of_kernel(absolute, 1)
        + first.uncertainty * absolute_norm_of_kernel(right, 1)
        + second.uncertainty * absolute_norm_of_kernel(left, 1)
        + first.uncertainty * second.uncertainty
    )
    return dataclasses.replace(
        frame,
        kernel=kernel,
        groups=1,
        uncertainty=_and(uncertainty, 0.0),
    )


def _taps_product(left, right):
    # One of the two has a single tap.
    return left @ right[0, 0] if right.shape[:2] == (1, 1) else left[0, 0] @ right


def _product_of_matrices(first, second):
    left, right = first.matrix(), second.matrix()
    if left is None or right is None or left.values.shape[0] != right.values.shape[1]:
        return None
    rounding = gamma(left.values.shape[0] + 1) * absolute_norm_of_matrices(
        np.abs(right.values) @ np.abs(left.values)
    )
    uncertainty = (
        rounding
        + left.uncertainty * absolute_norm_of_matrices(right.values)
        + right.uncertainty * absolute_norm_of_matrices(left.values)
        + left.uncertainty * right.uncertainty
    )
    return Matrix(right.values @ left.values, _and(uncertainty, 0.0))


_PRODUCTS = {
    (ChannelScaling, ChannelScaling): _scale_twice,
    (ChannelScaling, Flattened): _scale_then_flatten,
    (ChannelScaling, Convolution): _scale_then_convolve,
    (ChannelScaling, Matrix): _scale_then_multiply,
    (Convolution, ChannelScaling): _convolve_then_scale,
    (Convolution, Convolution): _convolve_twice,
    (Matrix, ChannelScaling): _multiply_then_scale,
}


def _and(bound, uncertainty):
    """Returns a bound with what it may be off by added, rounded up."""
    return round_up(bound + uncertainty * (1 + 1e-9)) if uncertainty else bound
