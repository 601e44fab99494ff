"""Bounds of residual layers of this package."""

import dataclasses
import math

import numpy as np

from lsrs_tf import layers
from lsrs_tf.lipschitz.evaluation import (
    Evaluation,
    absolute_norm_of_kernel,
    absolute_norm_of_matrices,
    added,
    chained,
    gamma,
    linear,
    scaled,
)
from lsrs_tf.lipschitz.layer_bound import BOUNDED, LayerBound
from lsrs_tf.lipschitz.layer_properties import float64, number_of_values
from lsrs_tf.lipschitz.registry import bound_rule
from lsrs_tf.lipschitz.rules.spectra import (
    NEARLY_ORTHOGONAL,
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
# Numbers of T below this are not compared with sums of products, which might have been taken for
# zero; layers of ours have none.
_SMALLEST_DIAGONAL = 1e-20


# What a layer has before it is frozen is bounded as what its frozen copy will hold.
@bound_rule(layers.SDPLipschitzConv2D, layers.FixedResidualConv2D)
def _residual_convolution(layer, input_shape):
    kernel, diagonal = (part.numpy() for part in layer.transformed_weights("float64"))
    _check_diagonal(layer, diagonal)
    bias = layer.transformed_bias("float64").numpy() if layer.use_bias else None
    scale = 1 / np.sqrt(diagonal)
    # That of the spectrum, and root, quotient and product. T itself is a number that is there.
    rounding = rounding_of_spectrum(kernel * scale)
    norm, absolute_norm, method = _norms(layer, kernel, diagonal, rounding)
    _, height, width, _ = layer.downsampling.compute_output_shape(input_shape)
    there, back = (
        dataclasses.replace(convolution, relative=convolution.relative + rounding)
        for convolution in (
            evaluation_of_spectrum(layer.is_pointwise, (height, width, *sizes), norm, absolute_norm)
            for sizes in (kernel.shape[2:], kernel.shape[:1:-1])
        )
    )
    return _residual(norm, (there, back), (height * width, scale, bias), method)


def _check_diagonal(layer, diagonal):
    if not np.min(diagonal) > 0:
        raise ValueError(
            f"The diagonal of layer '{layer.name}' ({type(layer).__name__}) must be above 0. "
            f"Received: {np.min(diagonal)}. Freeze an encoder to get one that is."
        )


def _norms(layer, kernel, diagonal, rounding):
    """Returns bounds of the norm of V and of its absolute values, and what was looked at."""
    scale = 1 / np.sqrt(diagonal)
    if layer.spectrum_is_large("float64"):
        # By the kernel alone: there are too many frequencies to look at, and T dominates them all.
        norm = root_of_dominance(kernel, diagonal, float64(layer.log_q))
        if norm <= 1 + NEARLY_ORTHOGONAL:
            norm = round_up(norm + rounding)
            # At any frequency the Frobenius norm is at most that of as many singular values.
            absolute_norm = math.sqrt(2) * min(
                math.sqrt(min(kernel.shape[2:])) * norm,
                absolute_norm_of_kernel(kernel * scale, 1),
            )
            return norm, absolute_norm * (1 + 1e-9), "by its kernel"
    spectrum = MeasuredSpectrum()
    columns = spectrum.measured(spectrum_of_columns(layer), scale[:, np.newaxis])
    norm, _ = spectral_norm.of_many(columns, rounding)
    return norm, spectrum.absolute_norm, "all frequencies"


def root_of_dominance(kernel, diagonal, log_q):
    """Bounds the norm of T^-1/2 W at all frequencies, for images of any size, by Schur's test.

    For any p > 0 the largest eigenvalue of T^-1 WW* is at most the largest of
    sum_j |WW*|_ij p_j / (p_i T_i), where the absolute values of all shifts may be added.

    Args:
        kernel: float64 array [kernel_height, kernel_width, channels, hidden channels].
        diagonal: float64 array [hidden channels], of T.
        log_q: float64 array [hidden channels]; p is its exponential.

    Returns:
        float, infinity where numbers are too large, or T has some that are too small.
    """
    if not np.min(diagonal) >= _SMALLEST_DIAGONAL:
        return math.inf
    rows, columns, _, hidden = kernel.shape
    terms = kernel.size // hidden
    sums = np.zeros((hidden, hidden))
    p = np.exp(np.clip(log_q, -300, 300))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for row in range(1 - rows, rows):
            for column in range(1 - columns, columns):
                first, second = (
                    kernel[_overlap(down, rows), _overlap(right, columns)].reshape(-1, hidden)
                    for down, right in ((row, column), (-row, -column))
                )
                sums += np.abs(first.T @ second)
        norms = np.linalg.norm(kernel.reshape(-1, hidden), axis=0)
        shifts = (2 * rows - 1) * (2 * columns - 1)
        # Each sum of products is off by less than this, by Cauchy and Schwarz.
        slack = 2 * shifts * gamma(terms + 8) * np.outer(norms, norms)
        whole = (sums * (1 + gamma(shifts + 8)) + slack) @ p / (p * diagonal)
        largest = float(np.max(whole)) * (1 + gamma(hidden + 16))
    return round_up(math.sqrt(largest)) if math.isfinite(largest) else math.inf


def _overlap(shift, size):
    """Returns what of a range lies in the range that is shifted."""
    return slice(max(shift, 0), size + min(shift, 0))


@bound_rule(layers.SDPLipschitzDense)
def _sdp_lipschitz_dense(layer, input_shape):
    kernel, diagonal = (part.numpy() for part in layer.transformed_weights("float64"))
    bias = layer.transformed_bias("float64").numpy() if layer.use_bias else None
    return _dense_residual(layer, input_shape, (kernel, diagonal, bias))


@bound_rule(layers.FixedResidualDense)
def _fixed_residual_dense(layer, input_shape):
    diagonal = float64(layer.diagonal)
    _check_diagonal(layer, diagonal)
    bias = float64(layer.bias) if layer.use_bias else None
    return _dense_residual(layer, input_shape, (float64(layer.kernel), diagonal, bias))


def _dense_residual(layer, input_shape, weights):
    """Bounds a dense residual layer of W, the diagonal of T, and the bias or None."""
    kernel, diagonal, bias = weights
    scale = 1 / np.sqrt(diagonal)
    scaled_kernel = kernel * scale
    absolute_norm = absolute_norm_of_matrices(scaled_kernel)
    # Root, quotient and product.
    rounding = gamma(8) * absolute_norm
    norm, _ = spectral_norm.of_matrices(scaled_kernel, round_up(rounding))
    places = number_of_values(input_shape) / input_shape[-1]
    inputs, hidden = (places * size for size in kernel.shape)
    there = linear(norm, absolute_norm, kernel.shape[0], inputs, hidden)
    back = linear(norm, absolute_norm, kernel.shape[1], hidden, inputs)
    return _residual(norm, (there, back), (places, scale, bias), "matrix")


def _residual(norm, maps, inside, method):
    """Bounds x - 2 W* T^-1 relu(W x + b), whose Lipschitz constant is 1 if T >= WW*.

    Values inside are looked at after division by the root of T: so the maps there and back are
    V = T^-1/2 W and V*, whose norms are about 1, whatever the sizes of single channels are.
    Dividing values by numbers of their own does not change relative errors.

    Args:
        norm: float, bound of the norm of V.
        maps: `Evaluation` of V, and of V*.
        inside: (number of places, float64 array [units] of the inverse roots of T, bias or None).
        method: str, what was looked at.
    """
    places, scale, bias = inside
    # If T >= WW* holds but for a factor 1 + e, the layer is one for which it holds, and 2 e times
    # a map with the constant 1.
    excess = product([norm, norm]) - 1
    bound = 1.0 if excess <= 0 else round_up(1 + round_up(2 * round_up(excess)))
    there, back = maps
    steps = [there]
    if bias is not None:
        steps.append(added(math.sqrt(places) * float(np.linalg.norm(bias * scale))))
    values = places * scale.size
    steps += [scaled(1.0, SPECTRUM_ROUNDINGS, values), back, scaled(2.0, 2, values)]
    step = chained(steps)
    error = 2 * UNIT_ROUNDOFF
    # Where T is as small as that, numbers that are taken for zero would count.
    tiny = not float(np.max(scale)) < _LARGEST_SCALE
    evaluation = Evaluation(
        lipschitz=bound,
        offset=step.offset,
        relative=step.relative + error * (1 + step.lipschitz + step.relative),
        absolute=math.inf if tiny else step.absolute + error * (step.offset + step.absolute),
    )
    return LayerBound(bound, BOUNDED, f"T >= WW*, {method}", evaluation=evaluation)


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
