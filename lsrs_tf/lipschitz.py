"""Proven upper bounds of the Lipschitz constants of layers and of whole encoders.

A bound is a theorem about numbers that are looked at, not an assumption about a class of layers:
the orthogonal layers are evaluated in float64, and the distance of every matrix from orthogonality
is measured and added. Every step rounds upwards. A layer without a rule here is an error that names
it.

The constants are those of `training=False` in exact arithmetic on the weights as frozen
(`LatentSmoothingModel.freeze_encoder`); the rounding errors of an evaluation are not in them.
"""

import math

import keras
import numpy as np
import scipy.special
import tensorflow as tf

from lsrs_tf import layers
from lsrs_tf.graphs import is_functional, is_sequential, nodes_in_order


def lipschitz_bound(layer_or_model, input_shape=None):
    """Returns a proven upper bound of the Lipschitz constant in the L2 norm.

    For a `LatentSmoothingModel` it is the bound of its encoder, the map from pixels to the latent.
    Sequential and functional models, and `ConvexResidual`, are composed from their layers; where
    branches are added or concatenated, the bounds of the branches are combined.

    Args:
        layer_or_model: a layer or model that is built, or one that `input_shape` can build.
        input_shape: shape with the batch dimension, for a layer that has not been built.

    Returns:
        float, at least the Lipschitz constant.

    Raises:
        ValueError: if a layer is unknown, a subclass of a known one, not built, or has weights that
            are not finite. The message names it.
    """
    if not isinstance(layer_or_model, keras.Layer):
        raise ValueError(
            f"lipschitz_bound takes a Keras layer or model. Received: {layer_or_model!r}"
        )
    for known, encoder_of in _ENCODERS.items():
        if isinstance(layer_or_model, known):
            return lipschitz_bound(encoder_of(layer_or_model), input_shape)
    if not layer_or_model.built:
        if input_shape is None:
            raise ValueError(
                f"Layer '{layer_or_model.name}' has not been built, so that its weights do not "
                "exist. Call it on data first, or give lipschitz_bound its `input_shape`."
            )
        layer_or_model.build(input_shape)
    return _bound(layer_or_model)


def bounded_by_encoder(model_class, encoder_of):
    """Makes the bound of a class of models the bound of its encoder.

    Args:
        model_class: class of models.
        encoder_of: function of a model that returns its encoder, or raises if the model may use
            another one.
    """
    _ENCODERS[model_class] = encoder_of


def _bound(layer):
    if is_sequential(layer):
        return _product(_bound(inner) for inner in layer.layers)
    if is_functional(layer):
        return _functional_bound(layer)
    # The exact class decides: a subclass may have changed what the layer does.
    rule = _RULES.get(type(layer))
    if rule is None:
        raise ValueError(
            f"No Lipschitz bound is known for layer '{layer.name}' of class "
            f"{type(layer).__module__}.{type(layer).__name__}, so that no certificate can be "
            "carried through it. Known classes: "
            f"{', '.join(sorted(known.__name__ for known in [*_RULES, *MERGES]))}, "
            "keras.Sequential and functional models of them (subclasses are not trusted). Move the "
            "layer into the head, or replace it: a convolution by OrthogonalConv2D, a dense layer "
            "by OrthogonalDense, an activation by GroupSort."
        )
    for weight in layer.weights:
        if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight))):
            raise ValueError(
                f"Weight '{weight.path}' of layer '{layer.name}' has values that are not finite; "
                "no bound holds for it. Load weights from before training diverged."
            )
    try:
        bound = rule(layer)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(_overflow(layer)) from error
    if not math.isfinite(bound):
        raise ValueError(_overflow(layer))
    return bound


def _overflow(layer):
    return (
        f"The transform of layer '{layer.name}' overflows: its gain or its weights are too large. "
        "Load weights from before training diverged."
    )


def _functional_bound(model):
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"Model '{model.name}' must have one input and one output to have a Lipschitz bound. "
            f"Received: {len(model.inputs)} inputs and {len(model.outputs)} outputs."
        )
    bounds = {id(model.inputs[0]): 1.0}
    for layer, inputs, outputs in nodes_in_order(model):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        incoming = [bounds[id(tensor)] for tensor in inputs]
        merge = MERGES.get(type(layer))
        if merge is not None:
            _check_merge(layer, inputs)
            bound = merge(incoming)
        elif len(incoming) == 1:
            bound = _product([incoming[0], _bound(layer)])
        else:
            raise ValueError(
                f"No Lipschitz bound is known for layer '{layer.name}' of class "
                f"{type(layer).__module__}.{type(layer).__name__} with {len(incoming)} inputs."
            )
        for tensor in outputs:
            bounds[id(tensor)] = bound
    return bounds[id(model.outputs[0])]


def _check_merge(layer, inputs):
    shapes = {tuple(tensor.shape[1:]) for tensor in inputs}
    # Addition would repeat the values of a smaller input, and with them its norm.
    unequal = len(shapes) > 1 or any(None in shape for shape in shapes)
    if isinstance(layer, keras.layers.Add) and unequal:
        raise ValueError(
            f"Layer '{layer.name}' adds inputs of different or unknown shapes, which may stretch "
            f"the smaller ones. Received: {sorted(map(str, shapes))}. Bring them to one known "
            "shape first."
        )
    if isinstance(layer, keras.layers.Concatenate) and layer.axis in (0, -len(inputs[0].shape)):
        raise ValueError(
            f"Layer '{layer.name}' concatenates along the batch, so that its outputs belong to no "
            f"single image. Received: axis={layer.axis}. Use another axis."
        )


def _round_up(value):
    return math.nextafter(value, math.inf)


def _product(factors):
    product = 1.0
    for factor in factors:
        # Multiplying by exactly 1 is exact.
        product = product * factor if 1.0 in (product, factor) else _round_up(product * factor)
    return product


def _sum(terms):
    total = 0.0
    for term in terms:
        total = _round_up(total + term)
    return total


def _root_of_squares(terms):
    return _round_up(math.sqrt(_sum(_round_up(term * term) for term in terms)))


def _norm_of_nearly_orthogonal(matrices):
    """Bounds the largest singular value of matrices [..., rows, columns] that should be orthogonal.

    For G = Q*Q (or QQ*, the smaller), norm(Q)^2 = norm(G) <= 1 + norm(G - I)_F. The computed G is
    off by at most 8 (k + 8) u norm(Q)_F^2 for inner products of length k, complex or real, in any
    order of summation (Higham, "Accuracy and Stability of Numerical Algorithms", sections 3.1 and
    3.6), and the evaluation of the Frobenius norms is covered by the same slack.
    """
    rows, columns = matrices.shape[-2:]
    adjoint = np.conj(np.swapaxes(matrices, -1, -2))
    gram = adjoint @ matrices if rows >= columns else matrices @ adjoint
    distance = np.linalg.norm(gram - np.eye(min(rows, columns)), axis=(-2, -1)).max()
    size = np.linalg.norm(matrices, axis=(-2, -1)).max() ** 2
    unit_roundoff = np.finfo(np.float64).eps / 2
    slack = 8 * (max(rows, columns) + 8) * unit_roundoff * (size + distance + 1)
    return _round_up(math.sqrt(_round_up(1.0 + _round_up(float(distance + slack)))))


def _spectrum_bound(stacked_spectrum):
    """Bounds the norm of a circular convolution by the norms of the matrices of its spectrum.

    Parseval's identity makes the transform an isometry. Taking the real part, as the inverse real
    transform does in the first and last column, can only shrink.
    """
    stacked = np.asarray(stacked_spectrum, np.float64)
    filters = stacked.shape[-2] // 2
    # One row of frequencies at a time bounds the memory.
    bounds = [
        _norm_of_nearly_orthogonal(row[:, :filters] + 1j * row[:, filters:]) for row in stacked
    ]
    # Python's max would pass over a NaN that is not the first.
    return float(np.max(bounds))


def _convex_residual_bound(layer):
    weight = float(scipy.special.expit(float(layer.logit)))
    branch = _bound(layer.branch)
    shortcut = 1.0 if layer.shortcut is None else _bound(layer.shortcut)
    combination = _sum([_product([weight, branch]), _product([1.0 - weight, shortcut])])
    # Either computed weight may be off by a few roundings of numbers below 1.
    slack = _product([8 * np.finfo(np.float64).eps, _sum([branch, shortcut])])
    return _sum([combination, slack])


def _standardization_bound(layer):
    smallest = float(np.min(layer.std))
    return 1.0 if smallest == 1.0 else _round_up(1.0 / smallest)


def _one(_):
    return 1.0


_RULES = {
    layers.ConvexResidual: _convex_residual_bound,
    layers.FixedDense: lambda layer: _norm_of_nearly_orthogonal(
        keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
    ),
    layers.GroupSort: _one,
    layers.InvertibleDownsampling: _one,
    layers.OrthogonalConv2D: lambda layer: _spectrum_bound(layer.stacked_spectrum("float64")),
    layers.OrthogonalDense: lambda layer: _norm_of_nearly_orthogonal(
        layer.orthogonal_kernel("float64").numpy()
    ),
    layers.SpectralConv2D: lambda layer: _spectrum_bound(layer.spectrum),
    layers.Standardization: _standardization_bound,
    keras.layers.Dropout: _one,
    keras.layers.Flatten: _one,
    keras.layers.GaussianNoise: _one,
    keras.layers.Identity: _one,
    keras.layers.InputLayer: _one,
    keras.layers.Permute: _one,
    keras.layers.Reshape: _one,
}

# Classes of models that are bounded by their encoders; see bounded_by_encoder.
_ENCODERS = {}

# Layers that take a list of inputs, even of one, and the bound of what they make of them.
MERGES = {keras.layers.Add: _sum, keras.layers.Concatenate: _root_of_squares}
