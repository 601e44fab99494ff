"""Bounds of residual layers of this package."""

import dataclasses
import math

import numpy as np

from lsrs_tf import layers
from lsrs_tf.lipschitz.evaluation import Evaluation, added, chained, scaled
from lsrs_tf.lipschitz.layer_bound import BOUNDED, LayerBound
from lsrs_tf.lipschitz.layer_properties import float64
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.lipschitz.rules.spectra import (
    SPECTRUM_ROUNDINGS,
    MeasuredSpectrum,
    evaluation_of_spectrum,
    rounding_of_spectrum,
    spectrum_of_columns,
)
from lsrs_tf.numerics import spectral_norm
from lsrs_tf.numerics.rounding import UNIT_ROUNDOFF, product, round_up, total

# Inverse roots of T above this are not followed.
_LARGEST_SCALE = 1e100


@bound_rule(layers.SDPLipschitzConv2D)
def _sdp_lipschitz_convolution(layer, input_shape):
    kernel, diagonal = (part.numpy() for part in layer.transformed_weights("float64"))
    scale = 1 / np.sqrt(diagonal)
    # Root, quotient and product, and those in T, are each off by a few units in the last place.
    rounding = rounding_of_spectrum(kernel * scale)
    spectrum = MeasuredSpectrum()
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
    convolution = evaluation_of_spectrum(
        layer.is_pointwise, (height, width, layer.units, layer.units), norm, absolute_norm
    )
    convolution = dataclasses.replace(convolution, relative=convolution.relative + rounding)
    steps = [convolution]
    if layer.use_bias:
        steps.append(
            added(math.sqrt(height * width) * float(np.linalg.norm(float64(layer.bias) * scale)))
        )
    steps += [scaled(1.0, SPECTRUM_ROUNDINGS, values), convolution, scaled(2.0, 2, values)]
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


def convex_combination(layer, branch, shortcut):
    """Bounds a `ConvexResidual`, given the bounds of its branch and shortcut."""
    weight = branch_weight(layer)
    combination = total([product([weight, branch]), product([1.0 - weight, shortcut])])
    # Either computed weight may be off by a few roundings of numbers below 1.
    slack = product([8 * np.finfo(np.float64).eps, total([branch, shortcut])])
    return LayerBound(total([combination, slack]), BOUNDED, "convex combination")


def branch_weight(layer):
    """Returns the weight of the branch of a `ConvexResidual`, in float64."""
    logit = float(float64(layer.logit))
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
