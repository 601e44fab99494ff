"""Proven upper bounds of the Lipschitz constants of layers and of whole encoders.

A bound is a theorem about numbers that are looked at, not an assumption about a class of layers:
the orthogonal layers are evaluated in float64, and the distance of every matrix from orthogonality
is measured and added. Every step rounds upwards. A layer without a rule is an error that names
it.

The constants are those of `training=False` in exact arithmetic on the weights as frozen
(`LatentSmoothingModel.freeze_encoder`); the rounding errors of an evaluation are not in them.
"""

import math

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf import layers
from lsrs_tf.graphs import is_functional, is_sequential, nodes_in_order, refuse_patched
from lsrs_tf.lipschitz.flow import Flow
from lsrs_tf.lipschitz.keras_layers import KERAS_RULES
from lsrs_tf.lipschitz.merging import MERGES, of_merge
from lsrs_tf.lipschitz.own_layers import OWN_RULES, convex_combination
from lsrs_tf.lipschitz.report import LipschitzReport, ReportRow
from lsrs_tf.lipschitz.rounding import product

_RULES = {**KERAS_RULES, **OWN_RULES}

# Classes of models that are bounded by their encoders; see bounded_by_encoder.
_ENCODERS = {}


def lipschitz_bound(layer_or_model, input_shape=None):
    """Returns a proven upper bound of the Lipschitz constant in the L2 norm.

    For a `LatentSmoothingModel` it is the bound of its encoder, the map from pixels to the latent.
    Sequential and functional models, and `ConvexResidual`, are composed from their layers; where
    branches are merged, the bounds of the branches are combined.

    Args:
        layer_or_model: a layer or model that is built, or one that `input_shape` can build.
        input_shape: shape with the batch dimension, for a single layer that has not been built or
            whose constant depends on the size of its input.

    Returns:
        float, at least the Lipschitz constant.

    Raises:
        ValueError: if a layer is unknown, a subclass of a known one, not built, or has weights that
            are not finite. The message names it.
    """
    return lipschitz_report(layer_or_model, input_shape).bound


def lipschitz_report(layer_or_model, input_shape=None):
    """Returns what is proven about each layer; `print` shows it as a table.

    Arguments and errors are those of `lipschitz_bound`.

    Returns:
        `LipschitzReport`.
    """
    if not isinstance(layer_or_model, keras.Layer):
        raise ValueError(f"A Keras layer or model is needed. Received: {layer_or_model!r}")
    if input_shape is not None and not isinstance(input_shape, list | tuple):
        raise ValueError(
            "`input_shape` must be a shape with the batch dimension, such as (None, 32, 32, 3). "
            f"Received: input_shape={input_shape!r}"
        )
    for known, encoder_of in _ENCODERS.items():
        if isinstance(layer_or_model, known):
            return lipschitz_report(encoder_of(layer_or_model), input_shape)
    if not layer_or_model.built:
        if input_shape is None:
            raise ValueError(
                f"Layer '{layer_or_model.name}' has not been built, so that its weights do not "
                "exist. Call it on data first, or give its `input_shape`."
            )
        layer_or_model.build(input_shape)
    rows = []
    flow = Flow.of_images(_known_shape(layer_or_model, input_shape))
    bound, flow = _bound(layer_or_model, flow, "", rows)
    return LipschitzReport(tuple(rows), bound, flow.error * (1 + 1e-9))


def bounded_by_encoder(model_class, encoder_of):
    """Makes the bound of a class of models the bound of its encoder.

    Args:
        model_class: class of models.
        encoder_of: function of a model that returns its encoder, or raises if the model may use
            another one.
    """
    _ENCODERS[model_class] = encoder_of


def _known_shape(layer, input_shape):
    if input_shape is not None:
        return tuple(input_shape)
    if is_sequential(layer) or is_functional(layer):
        return tuple(layer.inputs[0].shape)
    shape = (layer.get_build_config() or {}).get("input_shape")
    # Rules that depend on the shape refuse this one, by name.
    return (None, None) if shape is None else tuple(shape)


def _bound(layer, flow, prefix, rows):
    """Returns (bound, outgoing flow) of a layer or model, and adds rows for what it is made of."""
    if is_sequential(layer):
        return _sequential_bound(layer, flow, prefix, rows)
    if is_functional(layer):
        return _functional_bound(layer, flow, prefix, rows)
    if type(layer) is layers.ConvexResidual:
        return _residual_bound(layer, flow, prefix, rows)
    layer_bound = _rule_of(layer)(layer, flow.shape)
    rows.append(ReportRow(prefix + layer.name, layer_bound))
    return layer_bound.bound, flow.through(layer, layer_bound.bound)


def _sequential_bound(model, flow, prefix, rows):
    flow.check_enters(model)
    bounds = []
    for layer in model.layers:
        bound, flow = _bound(layer, flow, _inner_prefix(layer, prefix), rows)
        bounds.append(bound)
    return product(bounds), flow


def _functional_bound(model, flow, prefix, rows):
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"Model '{model.name}' must have one input and one output to have a Lipschitz bound. "
            f"Received: {len(model.inputs)} inputs and {len(model.outputs)} outputs."
        )
    flow.check_enters(model)
    known = {id(model.inputs[0]): (1.0, flow)}
    for layer, inputs, outputs in nodes_in_order(model):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        incoming, flows = zip(*(known[id(tensor)] for tensor in inputs), strict=True)
        if type(layer) in MERGES:
            refuse_patched(layer)
            layer_bound = of_merge(layer, incoming, [flow.shape for flow in flows])
            rows.append(ReportRow(prefix + layer.name, layer_bound))
            bound, outgoing = layer_bound.bound, Flow.merged(layer, flows)
        elif len(incoming) == 1:
            bound, outgoing = _bound(layer, flows[0], _inner_prefix(layer, prefix), rows)
            bound = product([incoming[0], bound])
        else:
            raise ValueError(
                f"No Lipschitz bound is known for layer '{layer.name}' of class "
                f"{type(layer).__module__}.{type(layer).__name__} with {len(incoming)} inputs."
            )
        for tensor in outputs:
            known[id(tensor)] = (bound, outgoing)
    return known[id(model.outputs[0])]


def _inner_prefix(layer, prefix):
    return f"{prefix}{layer.name}/" if is_sequential(layer) or is_functional(layer) else prefix


def _residual_bound(layer, flow, prefix, rows):
    refuse_patched(layer)
    inner = f"{prefix}{layer.name}/"
    branch, outgoing = _bound(layer.branch, flow, inner, rows)
    shortcut, beside = 1.0, flow
    if layer.shortcut is not None:
        shortcut, beside = _bound(layer.shortcut, flow, inner, rows)
    if outgoing.shape != beside.shape:
        raise ValueError(
            f"Branch and shortcut of layer '{layer.name}' (ConvexResidual) give different shapes, "
            f"so that one would be repeated. Received: {outgoing.shape} and {beside.shape}."
        )
    _check_finite(layer, layer.logit)
    layer_bound = convex_combination(layer, branch, shortcut)
    rows.append(ReportRow(prefix + layer.name, layer_bound))
    return layer_bound.bound, outgoing.combined(beside)


def _rule_of(layer):
    refuse_patched(layer)
    # The exact class decides: a subclass may have changed what the layer does.
    rule = _RULES.get(type(layer))
    if rule is None:
        known = sorted(known.__name__ for known in [*_RULES, *MERGES, layers.ConvexResidual])
        base = next((base for base in type(layer).__mro__[1:] if base in _RULES), None)
        if base is not None:
            advice = f"It is a subclass of {base.__name__}, which may do something else; use that."
        elif isinstance(layer, keras.Model):
            advice = "Build it with keras.Sequential or with the functional API."
        elif isinstance(layer, keras.layers.Normalization):
            advice = "Use lsrs_tf.layers.Standardization."
        else:
            advice = "Move the layer into the head, or replace it."
        raise ValueError(
            f"No Lipschitz bound is known for layer '{layer.name}' of class "
            f"{type(layer).__module__}.{type(layer).__name__}, so that no certificate can be "
            f"carried through it. {advice} Known: {', '.join(known)}."
        )

    def checked(layer, input_shape):
        for weight in layer.weights:
            _check_finite(layer, weight)
        try:
            layer_bound = rule(layer, input_shape)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(_overflow(layer)) from error
        if not math.isfinite(layer_bound.bound):
            raise ValueError(_overflow(layer))
        return layer_bound

    return checked


def _check_finite(layer, weight):
    if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight))):
        raise ValueError(
            f"Weight '{weight.path}' of layer '{layer.name}' has values that are not finite; "
            "no bound holds for it. Load weights from before training diverged."
        )


def _overflow(layer):
    return (
        f"The transform of layer '{layer.name}' overflows: its gain or its weights are too large. "
        "Load weights from before training diverged."
    )
