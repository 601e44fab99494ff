"""How far float64 arithmetic takes the values of a layer from its exact map.

Every bound here is an a-priori bound that follows the steps of the evaluation. u is the unit
roundoff, 2^-53, and gamma_n = n u / (1 - n u). A sum of n products, in any order and with or
without fused operations, is off by at most gamma_n times the sum of the absolute values of its
products (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1; with the bias it is
one term longer). Absolute values do not cancel, so that the bounds hold where values do.

A processor may replace numbers below 2^-1022 by zero, before or after an operation. That is
counted as an error of 2^-1022 for each of them.
"""

import dataclasses
import math

import numpy as np

from lsrs_tf.numerics.rounding import UNIT_ROUNDOFF
from lsrs_tf.numerics.spectral_norm import largest_frobenius_norm

_SMALLEST_NORMAL = 2.0**-1022
# A square of twice this is still far from overflowing, so that no intermediate value does.
LARGEST_SIZE = 1e150
# A Fourier matrix is off by less than sqrt(2) * 4 u times its Frobenius norm (the errors of single
# cosines and sines, see `numerics.fourier`), and by two roundings of the factors of its inverse.
_WAVE_ROUNDINGS = 8


def gamma(terms):
    """Returns gamma_n, the relative error of a sum of n products of nonnegative numbers."""
    return terms * UNIT_ROUNDOFF / (1 - terms * UNIT_ROUNDOFF)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Bounds of an exact map f and of g, its evaluation in float64, for all inputs x.

    norm(f(x)) <= lipschitz * norm(x) + offset, and
    norm(g(x) - f(x)) <= relative * norm(x) + absolute, in the L2 norm.

    Attributes:
        lipschitz: float, a Lipschitz constant of f.
        offset: float, norm of what f adds.
        relative: float.
        absolute: float.
    """

    lipschitz: float = 1.0
    offset: float = 0.0
    relative: float = 0.0
    absolute: float = 0.0

    def then(self, following):
        """Returns the evaluation of this step and a following one."""
        return Evaluation(
            lipschitz=self.lipschitz * following.lipschitz,
            offset=following.lipschitz * self.offset + following.offset,
            relative=following.relative * (self.lipschitz + self.relative)
            + following.lipschitz * self.relative,
            absolute=following.relative * (self.offset + self.absolute)
            + following.absolute
            + following.lipschitz * self.absolute,
        )

    def with_lipschitz(self, lipschitz):
        """Returns the same evaluation where f is known to have another Lipschitz constant."""
        return dataclasses.replace(self, lipschitz=lipschitz)


def chained(evaluations):
    """Returns the evaluation of several steps, one after the other."""
    whole = Evaluation()
    for evaluation in evaluations:
        whole = whole.then(evaluation)
    return whole


def linear(lipschitz, absolute_norm, terms, inputs, outputs):
    """Returns the evaluation of a product with a matrix, W x.

    Args:
        lipschitz: float, bound of the spectral norm of W.
        absolute_norm: float, bound of the spectral norm of the absolute values of W.
        terms: int, the longest sum of products.
        inputs: int, the number of values of x.
        outputs: int, the number of values of W x.
    """
    return Evaluation(
        lipschitz=lipschitz,
        relative=gamma(terms + 1) * absolute_norm + 2 * terms * _SMALLEST_NORMAL,
        absolute=2
        * _SMALLEST_NORMAL
        * (terms * math.sqrt(outputs) + absolute_norm * math.sqrt(inputs)),
    )


def added(norm, roundings=2, magnitude=None):
    """Returns the evaluation of the addition of a constant.

    Args:
        norm: float, norm of the constant.
        roundings: int, roundings of the constant and of the sum.
        magnitude: float, norm of the absolute values of the terms that the constant is the sum of,
            if it is more than one.
    """
    magnitude = norm if magnitude is None else magnitude
    return Evaluation(
        offset=norm + roundings * UNIT_ROUNDOFF * magnitude,
        relative=2 * UNIT_ROUNDOFF,
        absolute=(roundings + 2) * UNIT_ROUNDOFF * magnitude,
    )


def scaled(largest, roundings, values):
    """Returns the evaluation of a product of each value with a factor of its own.

    Args:
        largest: float, the largest absolute value of the factors.
        roundings: int, roundings of a factor and of the product together.
        values: int, the number of values.
    """
    return linear(largest, largest, roundings, values, values)


def function(slope, at_zero, values, roundings):
    """Returns the evaluation of a function of each value.

    Its result is taken to be off by at most so many roundings of 1 + slope * abs(x): errors of
    elementary functions are relative to numbers of the size of their arguments or of 1.

    Args:
        slope: float, Lipschitz constant of the function.
        at_zero: float, absolute value of the function at zero.
        values: int, the number of values.
        roundings: int; 0 for functions that only select values.
    """
    error = roundings * UNIT_ROUNDOFF
    return Evaluation(
        lipschitz=slope,
        offset=at_zero * math.sqrt(values),
        relative=error * max(1.0, slope),
        absolute=(error + (_SMALLEST_NORMAL if roundings else 0.0)) * math.sqrt(values),
    )


def spectral_convolution(lipschitz, absolute_norm, image_size, channels, filters):
    """Returns the evaluation of a convolution as matrix products, see `numerics.spectrum`.

    Five products follow each other: with the Fourier matrices of the width and of the height, with
    the matrices of all frequencies, and back. Norms are those of the full spectrum, in which
    Fourier matrices are multiples of isometries; the Frobenius norm bounds that of the absolute
    values.

    Args:
        lipschitz: float, bound of the largest norm of the matrices of all frequencies.
        absolute_norm: float, bound of that of their absolute values, as `absolute_norm_of_spectrum`
            returns it.
        image_size: (height, width) in pixels.
        channels: int, columns of a matrix.
        filters: int, rows of a matrix.
    """
    height, width = image_size
    inputs, outputs = (2 * height * (width + 2) * size for size in (channels, filters))
    root_height, root_width = math.sqrt(height), math.sqrt(width)
    return chained(
        [
            linear(root_width, width, width + _WAVE_ROUNDINGS, inputs, inputs),
            linear(
                root_height, math.sqrt(2) * height, 2 * height + _WAVE_ROUNDINGS, inputs, inputs
            ),
            linear(lipschitz, absolute_norm, 2 * channels + 1, inputs, outputs),
            linear(1 / root_height, math.sqrt(2), 2 * height + _WAVE_ROUNDINGS, outputs, outputs),
            linear(1 / root_width, 1.0, width + 2 + _WAVE_ROUNDINGS, outputs, outputs),
        ]
    ).with_lipschitz(lipschitz)


def absolute_norm_of_spectrum(matrices):
    """Bounds the spectral norms of the absolute values of complex matrices, as pairs of real ones.

    Args:
        matrices: complex array [..., rows, columns].
    """
    absolute = np.abs(matrices.real) + np.abs(matrices.imag)
    frobenius = math.sqrt(2) * largest_frobenius_norm(matrices)
    return min(frobenius, _schur(absolute))


def absolute_norm_of_matrices(matrices):
    """Bounds the spectral norms of the absolute values of real matrices [..., rows, columns]."""
    return _absolute_norm(np.abs(matrices))


def absolute_norm_of_kernel(kernel, groups):
    """Bounds the norm of the convolution with the absolute values of a kernel.

    It is at most that of the sum of its taps, as a matrix, because at frequency zero nothing
    cancels.

    Args:
        kernel: float array [..., channels / groups, filters].
        groups: int.
    """
    taps = np.abs(kernel).reshape(-1, *kernel.shape[-2:])
    whole = taps[0] if len(taps) == 1 else taps.sum(axis=0)
    return max(_absolute_norm(part) for part in np.split(whole, groups, axis=1))


def _absolute_norm(absolute):
    # What overflows is the larger of both.
    with np.errstate(over="ignore"):
        return min(largest_frobenius_norm(absolute), _schur(absolute))


def _schur(absolute):
    """Bounds norms by the root of the largest sum of a row times that of a column (Schur)."""
    rows, columns = (absolute.sum(axis=axis).max(axis=-1, initial=0.0) for axis in (-1, -2))
    return float(np.sqrt(rows * columns).max(initial=0.0))
