"""Bounds of convolutions with a spectrum: one matrix for each frequency."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf import layers
from lsrs_tf.lipschitz.evaluation import (
    absolute_norm_of_kernel,
    absolute_norm_of_spectrum,
    added,
    gamma,
    linear,
    spectral_convolution,
)
from lsrs_tf.lipschitz.layer_bound import BOUNDED, ORTHOGONAL, LayerBound
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.numerics import spectral_norm
from lsrs_tf.numerics.rounding import round_up

# Frozen matrices that are no further than this from orthogonal are bounded by their distance.
NEARLY_ORTHOGONAL = 1e-9
# Roundings of a Fourier matrix, and of the factors that a kernel is multiplied by.
SPECTRUM_ROUNDINGS = 128
_BY_DISTANCE = "distance from orthogonality, all frequencies"


class MeasuredSpectrum:
    """What is measured of a spectrum while its columns pass by.

    Attributes:
        absolute_norm: float, see `absolute_norm_of_spectrum`.
    """

    def __init__(self):
        self.absolute_norm = 0.0

    def measured(self, columns, scale=1.0):
        """Yields columns of frequencies, multiplied by a factor for each row."""
        for column in columns:
            matrices = scale * column
            # Not Python's max, which would pass over a NaN that is not the first.
            self.absolute_norm = float(
                np.maximum(self.absolute_norm, absolute_norm_of_spectrum(matrices))
            )
            yield matrices


def spectrum_of_columns(layer):
    """Yields the spectrum of a convolution in float64, one column of frequencies at a time.

    Args:
        layer: built `LipschitzConv2D`.

    Yields:
        Complex arrays [height, filters, channels].
    """
    weights = layer.transformed_weights("float64")
    for column in range(layer.image_size[1] // 2 + 1):
        yield _complex(layer.spectrum_of(weights, tf.constant([column]))[0])


def _complex(stacked):
    stacked = np.asarray(stacked, np.float64)
    rows = stacked.shape[-2] // 2
    return stacked[:, :rows] + 1j * stacked[:, rows:]


def _orthogonal_spectrum(columns):
    # Parseval's identity makes the transform an isometry. Taking the real part, as the inverse real
    # transform does in the first and last column, can only shrink.
    uppers, smallest = zip(*map(spectral_norm.of_nearly_orthogonal, columns), strict=True)
    return float(np.max(uppers)), float(np.min(smallest))


def _evaluation(layer, input_shape, bound, absolute_norm):
    """Returns the `Evaluation` of a convolution with a spectrum, and of its bias."""
    _, height, width, channels = layer.downsampling.compute_output_shape(input_shape)
    size = (height, width, channels, layer.filters)
    evaluation = evaluation_of_spectrum(_is_pointwise(layer), size, bound, absolute_norm)
    bias = _bias(layer)
    if bias is None:
        return evaluation
    return evaluation.then(added(math.sqrt(height * width) * float(np.linalg.norm(bias))))


def evaluation_of_spectrum(pointwise, size, bound, absolute_norm):
    """Returns the `Evaluation` of a convolution with a spectrum, without its bias.

    Args:
        pointwise: bool, whether one matrix serves all frequencies.
        size: (height, width, channels, filters), after the strides.
        bound: float, norm of the spectrum.
        absolute_norm: float, that of its absolute values.
    """
    height, width, channels, filters = size
    if pointwise:
        pixels = height * width
        return linear(bound, absolute_norm, channels, pixels * channels, pixels * filters)
    return spectral_convolution(bound, absolute_norm, (height, width), channels, filters)


def _is_pointwise(layer):
    return getattr(layer, "is_pointwise", False) or getattr(layer, "pointwise", False)


def _bias(layer):
    return keras.ops.convert_to_numpy(layer.bias).astype(np.float64) if layer.use_bias else None


@bound_rule(
    layers.BlockReflectorConv2D,
    layers.OrthogonalConv2D,
    layers.ParaunitaryConv2D,
    layers.SkewOrthogonalConv2D,
)
def _orthogonal_convolution(layer, input_shape):
    spectrum = MeasuredSpectrum()
    bound, smallest = _orthogonal_spectrum(spectrum.measured(spectrum_of_columns(layer)))
    if layer.spectrum_is_large("float64"):
        bound = _recomputed(layer, bound, smallest)
    return LayerBound(
        bound,
        ORTHOGONAL,
        _BY_DISTANCE,
        smallest,
        evaluation=_evaluation(layer, input_shape, bound, spectrum.absolute_norm),
    )


def _recomputed(layer, bound, smallest):
    """Bounds a spectrum that is evaluated anew for every image, by other code than for the bound.

    Rounding differs from one to the other, by as much as the transform is ill-conditioned. That
    shows as a distance from orthogonality, of which several times as much is allowed for.
    """
    distance = 1 - smallest**2
    if not distance <= 1e-11:
        raise ValueError(
            f"The transform of layer '{layer.name}' is too ill-conditioned to be evaluated again "
            f"for every image, as large spectra are: it is {distance:.2g} from orthogonal. Its "
            "gain or its weights are too large; load weights from before training diverged."
        )
    return round_up(bound + 32 * distance)


@bound_rule(layers.SpectralConv2D)
def _spectral_convolution(layer, input_shape):
    columns = keras.ops.convert_to_numpy(layer.spectrum)
    spectrum = MeasuredSpectrum()
    kind, method = ORTHOGONAL, _BY_DISTANCE
    bound, smallest = _orthogonal_spectrum(spectrum.measured(map(_complex, columns)))
    if not bound <= 1 + NEARLY_ORTHOGONAL:
        kind, method = BOUNDED, "norms of all frequencies"
        bound, smallest = spectral_norm.of_many(map(_complex, columns))
    evaluation = _evaluation(layer, input_shape, bound, spectrum.absolute_norm)
    return LayerBound(bound, kind, method, smallest, evaluation=evaluation)


def rounding_of_spectrum(kernel):
    """Bounds the norm of what rounding makes of the spectrum of a kernel.

    The spectrum may be evaluated anew for every image, by other code than for the bound. Each entry
    is a sum over taps; that of their absolute values does not cancel.

    Args:
        kernel: float64 array [kernel_height, kernel_width, channels, filters].
    """
    roundings = gamma(math.prod(kernel.shape[:2]) + SPECTRUM_ROUNDINGS)
    return 2 * roundings * absolute_norm_of_kernel(kernel, 1)


@bound_rule(layers.AlmostOrthogonalConv2D)
def _almost_orthogonal_convolution(layer, input_shape):
    rounding = rounding_of_spectrum(layer.transformed_weights("float64")[0].numpy())
    return _of_all_frequencies(layer, input_shape, rounding)


@bound_rule(layers.SpectralNormalizedConv2D)
def _spectral_normalized_convolution(layer, input_shape):
    kernel = layer.transformed_weights("float64")[0].numpy()
    rounding = rounding_of_spectrum(kernel)
    if layer.spectrum_is_large("float64"):
        # What is evaluated anew is the norm, too: by the same error as the spectrum, and by that of
        # the iteration. Each squaring of a Gram matrix of rank n is off by less than 2 n gamma_2n,
        # relative to its norm, doubles what was before, and halves its power in the norm.
        rank, terms = min(layer.matrix_size()), 2 * max(layer.matrix_size())
        rounding = 2 * rounding + 8 * rank * gamma(terms + SPECTRUM_ROUNDINGS)
    return _of_all_frequencies(layer, input_shape, rounding)


@bound_rule(layers.BjorckConv2D)
def _bjorck_convolution(layer, input_shape):
    layer_bound = _of_all_frequencies(layer, input_shape, 0.0)
    if not layer.spectrum_is_large("float64"):
        return layer_bound
    # What is evaluated anew may differ much in singular values that are tiny at first. But whatever
    # was before, a step takes norms up to sqrt(3) to norms up to 1, but for its own rounding: with
    # r the rank, absolute values have at most the norm sqrt(2 r), in each of two products.
    rank, terms = min(layer.matrix_size()), 2 * max(layer.matrix_size())
    step = 8 * gamma(terms + 16) * (rank + math.sqrt(rank)) * math.sqrt(2)
    bound = max(layer_bound.bound, round_up(1 + round_up(step)))
    absolute_norm = math.sqrt(2 * rank) * (1 + 1e-6)
    return dataclasses.replace(
        layer_bound,
        bound=bound,
        method="last step of the iteration, all frequencies",
        evaluation=_evaluation(layer, input_shape, bound, absolute_norm),
    )


def _of_all_frequencies(layer, input_shape, rounding):
    spectrum = MeasuredSpectrum()
    columns = spectrum.measured(spectrum_of_columns(layer))
    bound, smallest = spectral_norm.of_many(columns, rounding)
    evaluation = _evaluation(layer, input_shape, bound, spectrum.absolute_norm)
    return LayerBound(bound, BOUNDED, "norms of all frequencies", smallest, evaluation=evaluation)
