"""Bounds of the layers of this package, but for `ConvexResidual`, which holds other layers."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf import layers
from lsrs_tf.lipschitz import spectral_norm
from lsrs_tf.lipschitz.evaluation import (
    UNIT_ROUNDOFF,
    Evaluation,
    absolute_norm_of_kernel,
    absolute_norm_of_matrices,
    absolute_norm_of_spectrum,
    added,
    chained,
    gamma,
    linear,
    scaled,
    spectral_convolution,
)
from lsrs_tf.lipschitz.layer_bound import (
    BOUNDED,
    ISOMETRIC,
    ORTHOGONAL,
    LayerBound,
    affine_interval,
    isometry,
)
from lsrs_tf.lipschitz.linear_maps import ChannelScaling
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.lipschitz.rounding import product, round_up, total
from lsrs_tf.lipschitz.shapes import number_of_values

# Frozen matrices that are no further than this from orthogonal are bounded by their distance.
_NEARLY_ORTHOGONAL = 1e-6
# Roundings of a Fourier matrix, and of the factors that a kernel is multiplied by.
_SPECTRUM_ROUNDINGS = 128
_LARGEST_SCALE = 1e100
_BY_DISTANCE = "distance from orthogonality, all frequencies"


class _Spectrum:
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
    evaluation = _evaluation_of_spectrum(_is_pointwise(layer), size, bound, absolute_norm)
    bias = _bias(layer)
    if bias is None:
        return evaluation
    return evaluation.then(added(math.sqrt(height * width) * float(np.linalg.norm(bias))))


def _evaluation_of_spectrum(pointwise, size, bound, absolute_norm):
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
    spectrum = _Spectrum()
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
            f"The transform of layer '{layer.name}' is too ill-conditioned to be evaluated anew "
            f"for every image, as large spectra are: it is {distance:.2g} from orthogonal. Its "
            "gain or its weights are too large; load weights from before training diverged."
        )
    return round_up(bound + 32 * distance)


@bound_rule(layers.SpectralConv2D)
def _spectral_convolution(layer, input_shape):
    columns = keras.ops.convert_to_numpy(layer.spectrum)
    spectrum = _Spectrum()
    kind, method = ORTHOGONAL, _BY_DISTANCE
    bound, smallest = _orthogonal_spectrum(spectrum.measured(map(_complex, columns)))
    if not bound <= 1 + _NEARLY_ORTHOGONAL:
        kind, method = BOUNDED, "norms of all frequencies"
        bound, smallest = spectral_norm.of_many(map(_complex, columns))
    evaluation = _evaluation(layer, input_shape, bound, spectrum.absolute_norm)
    return LayerBound(bound, kind, method, smallest, evaluation=evaluation)


def _rounding_of_spectrum(kernel):
    """Bounds the norm of what rounding makes of the spectrum of a kernel.

    The spectrum may be evaluated anew for every image, by other code than for the bound. Each entry
    is a sum over taps; that of their absolute values does not cancel.

    Args:
        kernel: float64 array [kernel_height, kernel_width, channels, filters].
    """
    roundings = gamma(math.prod(kernel.shape[:2]) + _SPECTRUM_ROUNDINGS)
    return 2 * roundings * absolute_norm_of_kernel(kernel, 1)


@bound_rule(layers.AlmostOrthogonalConv2D)
def _almost_orthogonal_convolution(layer, input_shape):
    rounding = _rounding_of_spectrum(layer.transformed_weights("float64")[0].numpy())
    spectrum = _Spectrum()
    columns = spectrum.measured(spectrum_of_columns(layer))
    bound, smallest = spectral_norm.of_many(columns, rounding)
    evaluation = _evaluation(layer, input_shape, bound, spectrum.absolute_norm)
    return LayerBound(bound, BOUNDED, "norms of all frequencies", smallest, evaluation=evaluation)


@bound_rule(layers.SDPLipschitzConv2D)
def _sdp_lipschitz_convolution(layer, input_shape):
    kernel, diagonal = (part.numpy() for part in layer.transformed_weights("float64"))
    scale = 1 / np.sqrt(diagonal)
    # Root, quotient and product, and those in T, are each off by a few units in the last place.
    rounding = _rounding_of_spectrum(kernel * scale)
    spectrum = _Spectrum()
    columns = spectrum.measured(spectrum_of_columns(layer), scale[:, np.newaxis])
    norm, _ = spectral_norm.of_many(columns, rounding)
    # If T >= WW* holds but for a factor 1 + e, the layer is one for which it holds, and 2 e times
    # a map with the constant 1.
    excess = product([norm, norm]) - 1
    bound = 1.0 if excess <= 0 else round_up(1 + round_up(2 * round_up(excess)))
    evaluation = _residual_evaluation(
        layer, input_shape, (norm, spectrum.absolute_norm, rounding), scale
    )
    return LayerBound(
        bound, BOUNDED, "T >= WW*, all frequencies", evaluation=evaluation.with_lipschitz(bound)
    )


def _residual_evaluation(layer, input_shape, norms, scale):
    """Returns the `Evaluation` of x - 2 W* T^-1 relu(W x + b).

    Values inside are looked at after division by the root of T: so the maps there and back are
    V = T^-1/2 W and V*, whose norms are about 1, whatever the sizes of single channels are.
    Dividing values by numbers of their own does not change relative errors.

    Args:
        layer: `SDPLipschitzConv2D`.
        input_shape: tuple.
        norms: (norm of V, of its absolute values, of the rounding of its spectrum).
        scale: float64 array [units], the inverse roots of T.
    """
    norm, absolute_norm, rounding = norms
    _, height, width, _ = layer.downsampling.compute_output_shape(input_shape)
    values = height * width * layer.units
    convolution = _evaluation_of_spectrum(
        layer.is_pointwise, (height, width, layer.units, layer.units), norm, absolute_norm
    )
    convolution = dataclasses.replace(convolution, relative=convolution.relative + rounding)
    steps = [convolution]
    if layer.use_bias:
        steps.append(added(math.sqrt(height * width) * float(np.linalg.norm(_bias(layer) * scale))))
    steps += [scaled(1.0, _SPECTRUM_ROUNDINGS, values), convolution, scaled(2.0, 2, values)]
    step = chained(steps)
    error = 2 * UNIT_ROUNDOFF
    # Where T is as small as that, numbers that are taken for zero would count.
    tiny = not float(np.max(scale)) < _LARGEST_SCALE
    return Evaluation(
        lipschitz=1 + step.lipschitz,
        offset=step.offset,
        relative=step.relative + error * (1 + step.lipschitz + step.relative),
        absolute=math.inf if tiny else step.absolute + error * (step.offset + step.absolute),
    )


@bound_rule(layers.OrthogonalDense)
def _orthogonal_dense(layer, input_shape):
    kernel = layer.orthogonal_kernel("float64").numpy()
    bound, smallest = spectral_norm.of_nearly_orthogonal(kernel)
    return LayerBound(
        bound,
        ORTHOGONAL,
        "distance from orthogonality",
        smallest,
        evaluation=_dense_evaluation(layer, input_shape, bound, kernel),
    )


@bound_rule(layers.FixedDense)
def _fixed_dense(layer, input_shape):
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
    kind, method = ORTHOGONAL, "distance from orthogonality"
    bound, smallest = spectral_norm.of_nearly_orthogonal(kernel)
    if not bound <= 1 + _NEARLY_ORTHOGONAL:
        kind, method = BOUNDED, "matrix"
        bound, smallest = spectral_norm.of_matrices(kernel)
    evaluation = _dense_evaluation(layer, input_shape, bound, kernel)
    return LayerBound(bound, kind, method, smallest, evaluation=evaluation)


def _dense_evaluation(layer, input_shape, bound, kernel):
    inputs = number_of_values(input_shape)
    outputs = number_of_values(layer.compute_output_shape(input_shape))
    product_with_kernel = linear(
        bound, absolute_norm_of_matrices(kernel), kernel.shape[0], inputs, outputs
    )
    if not layer.use_bias:
        return product_with_kernel
    repeated = math.sqrt(outputs / layer.units)
    return product_with_kernel.then(added(repeated * float(np.linalg.norm(_bias(layer)))))


@bound_rule(layers.Standardization)
def _standardization(layer, input_shape):
    smallest, largest = float(np.min(layer.std)), float(np.max(layer.std))
    values = number_of_values(input_shape)
    mean, std = np.broadcast_arrays(layer.mean, layer.std)
    shift = math.sqrt(values / mean.size) * float(np.linalg.norm(mean))
    bound = 1.0 if smallest == 1.0 else round_up(1.0 / smallest)
    evaluation = added(shift)
    if not smallest == largest == 1.0:
        evaluation = evaluation.then(scaled(bound, 2, values))
    details = {
        "evaluation": evaluation,
        "linear_map": ChannelScaling(np.broadcast_to(1 / std, [input_shape[-1]]), 1),
        "interval": affine_interval(1 / std, -mean / std),
    }
    if smallest == largest == 1.0:
        return LayerBound(1.0, ISOMETRIC, "moves all values alike", 1.0, **details)
    return LayerBound(bound, BOUNDED, "1 / min(std)", 1.0 / largest, **details)


@bound_rule(layers.GroupSort)
def _group_sort(*_):
    return isometry("sorting")


@bound_rule(layers.InvertibleDownsampling)
def _invertible_downsampling(*_):
    return isometry("moves values only")


@bound_rule(layers.HouseholderActivation)
def _householder(layer, input_shape):
    # The exact layer is that of the vectors as they are computed, (sin(t / 2), -cos(t / 2)).
    half = tf.cast(layer.angle, "float64") / 2
    squares = (tf.sin(half) ** 2 + tf.cos(half) ** 2).numpy()
    excess = float(np.max(np.abs(squares - 1))) + 8 * UNIT_ROUNDOFF
    # A mirror of a vector v stretches by at most max(1, 2 v*v - 1).
    bound = round_up(1 + 2 * excess)
    return LayerBound(
        bound,
        ISOMETRIC,
        "identity or reflection",
        1.0,
        # Each value is a sum of a few products, whose absolute values have at most 3 times the
        # norm of a pair.
        evaluation=linear(bound, 5.0, 8, *[number_of_values(input_shape)] * 2),
    )


def convex_combination(layer, branch, shortcut):
    """Bounds a `ConvexResidual`, given the bounds of its branch and shortcut."""
    weight = branch_weight(layer)
    combination = total([product([weight, branch]), product([1.0 - weight, shortcut])])
    # Either computed weight may be off by a few roundings of numbers below 1.
    slack = product([8 * np.finfo(np.float64).eps, total([branch, shortcut])])
    return LayerBound(total([combination, slack]), BOUNDED, "convex combination")


def branch_weight(layer):
    """Returns the weight of the branch of a `ConvexResidual`, in float64."""
    logit = float(keras.ops.convert_to_numpy(layer.logit).astype(np.float64))
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
