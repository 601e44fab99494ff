"""Bounds of the layers of this package; see `OWN_RULES`."""

import math

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf import layers
from lsrs_tf.lipschitz import spectral_norm
from lsrs_tf.lipschitz.layer_bound import BOUNDED, ISOMETRIC, ORTHOGONAL, LayerBound, isometry
from lsrs_tf.lipschitz.rounding import product, round_up, total

# Frozen matrices that are no further than this from orthogonal are bounded by their distance.
_NEARLY_ORTHOGONAL = 1e-6


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
    return _worst(spectral_norm.of_nearly_orthogonal(column) for column in columns)


def _worst(bounds):
    uppers, smallest = zip(*bounds, strict=True)
    # Python's max would pass over a NaN that is not the first.
    return float(np.max(uppers)), float(np.min(smallest))


def _orthogonal_convolution(layer, _):
    bound, smallest = _orthogonal_spectrum(spectrum_of_columns(layer))
    if layer.spectrum_is_large("float64"):
        bound = _recomputed(layer, bound, smallest)
    return LayerBound(bound, ORTHOGONAL, "distance from orthogonality, all frequencies", smallest)


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


def _spectral_convolution(layer, _):
    bound, smallest = _orthogonal_spectrum(
        map(_complex, keras.ops.convert_to_numpy(layer.spectrum))
    )
    if bound <= 1 + _NEARLY_ORTHOGONAL:
        return LayerBound(
            bound, ORTHOGONAL, "distance from orthogonality, all frequencies", smallest
        )
    bound, smallest = _worst(
        spectral_norm.of_matrices(_complex(column))
        for column in keras.ops.convert_to_numpy(layer.spectrum)
    )
    return LayerBound(bound, BOUNDED, "norms of all frequencies", smallest)


def _almost_orthogonal_convolution(layer, _):
    bound, smallest = _worst(map(spectral_norm.of_matrices, spectrum_of_columns(layer)))
    return LayerBound(bound, BOUNDED, "norms of all frequencies", smallest)


def _sdp_lipschitz_convolution(layer, _):
    diagonal = layer.transformed_weights("float64")[1].numpy()
    scale = 1 / np.sqrt(diagonal)[:, np.newaxis]
    norms = []
    for column in spectrum_of_columns(layer):
        matrices = scale * column
        # Root, quotient and product are each off by less than one unit in the last place.
        rounding = 8 * spectral_norm.UNIT_ROUNDOFF * np.linalg.norm(matrices, axis=(-2, -1)).max()
        norms.append(spectral_norm.of_matrices(matrices, float(rounding)))
    norm, _ = _worst(norms)
    # If T >= WW* holds but for a factor 1 + e, the layer is one for which it holds, and 2 e times
    # a map with the constant 1.
    excess = product([norm, norm]) - 1
    bound = 1.0 if excess <= 0 else round_up(1 + round_up(2 * round_up(excess)))
    return LayerBound(bound, BOUNDED, "T >= WW*, all frequencies")


def _orthogonal_dense(layer, _):
    bound, smallest = spectral_norm.of_nearly_orthogonal(layer.orthogonal_kernel("float64").numpy())
    return LayerBound(bound, ORTHOGONAL, "distance from orthogonality", smallest)


def _fixed_dense(layer, _):
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
    bound, smallest = spectral_norm.of_nearly_orthogonal(kernel)
    if bound <= 1 + _NEARLY_ORTHOGONAL:
        return LayerBound(bound, ORTHOGONAL, "distance from orthogonality", smallest)
    bound, smallest = spectral_norm.of_matrices(kernel)
    return LayerBound(bound, BOUNDED, "matrix", smallest)


def _standardization(layer, _):
    smallest, largest = float(np.min(layer.std)), float(np.max(layer.std))
    if smallest == largest == 1.0:
        return isometry("moves all values alike")
    bound = 1.0 if smallest == 1.0 else round_up(1.0 / smallest)
    return LayerBound(bound, BOUNDED, "1 / min(std)", 1.0 / largest)


def _householder(layer, _):
    # The computed normal vector of the mirror is a unit vector but for a few roundings.
    bound = round_up(1 + 32 * spectral_norm.UNIT_ROUNDOFF)
    return LayerBound(bound, ISOMETRIC, "identity or reflection", 1.0)


def convex_combination(layer, branch, shortcut):
    """Bounds a `ConvexResidual`, given the bounds of its branch and shortcut."""
    weight = float(keras.ops.convert_to_numpy(layer.logit).astype(np.float64))
    weight = 1 / (1 + math.exp(-weight)) if weight > -700 else 0.0
    combination = total([product([weight, branch]), product([1.0 - weight, shortcut])])
    # Either computed weight may be off by a few roundings of numbers below 1.
    slack = product([8 * np.finfo(np.float64).eps, total([branch, shortcut])])
    return LayerBound(total([combination, slack]), BOUNDED, "convex combination")


OWN_RULES = {
    layers.AlmostOrthogonalConv2D: _almost_orthogonal_convolution,
    layers.BlockReflectorConv2D: _orthogonal_convolution,
    layers.FixedDense: _fixed_dense,
    layers.GroupSort: lambda *_: isometry("sorting"),
    layers.HouseholderActivation: _householder,
    layers.InvertibleDownsampling: lambda *_: isometry("moves values only"),
    layers.OrthogonalConv2D: _orthogonal_convolution,
    layers.OrthogonalDense: _orthogonal_dense,
    layers.ParaunitaryConv2D: _orthogonal_convolution,
    layers.SDPLipschitzConv2D: _sdp_lipschitz_convolution,
    layers.SkewOrthogonalConv2D: _orthogonal_convolution,
    layers.SpectralConv2D: _spectral_convolution,
    layers.Standardization: _standardization,
}
