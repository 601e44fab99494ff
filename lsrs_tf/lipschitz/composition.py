"""Proven upper bounds of the Lipschitz constants of layers and of whole encoders.

A bound is a theorem about numbers that are looked at, not an assumption about a class of layers:
the orthogonal layers are evaluated in float64, and the distance of every matrix from orthogonality
is measured and added. Every step rounds upwards. A layer without a rule is an error that names
it.

The constants are those of `training=False` in exact arithmetic on the weights as frozen
(`LatentSmoothingModel.freeze_encoder`); the rounding errors of an evaluation are not in them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from lsrs_tf.graphs import is_functional, is_sequential, nodes_in_order, refuse_patched
from lsrs_tf.layers import ConvexResidual
from lsrs_tf.lipschitz import rules  # noqa: F401  (registers the rules)
from lsrs_tf.lipschitz.passage import Passage
from lsrs_tf.lipschitz.registry import bound_of, check_finite
from lsrs_tf.lipschitz.report import LipschitzReport, ReportRows
from lsrs_tf.lipschitz.rules.merges import MERGES, of_merge
from lsrs_tf.lipschitz.rules.residuals import branch_weight, convex_combination

# Classes of models that are bounded by their encoders; see bounded_by_encoder.
_ENCODERS: dict[type[keras.Model], Callable[[Any], keras.Layer]] = {}


def lipschitz_bound(
    layer_or_model: keras.Layer, input_shape: Sequence[int | None] | None = None
) -> float:
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

    Examples:
        >>> encoder = keras.Sequential(
        ...     [
        ...         keras.Input((8, 8, 3)),
        ...         keras.layers.Rescaling(0.5),
        ...         keras.layers.MaxPooling2D(2),
        ...     ]
        ... )
        >>> lipschitz_bound(encoder)
        0.5
    """
    return lipschitz_report(layer_or_model, input_shape).bound


def lipschitz_report(
    layer_or_model: keras.Layer, input_shape: Sequence[int | None] | None = None
) -> LipschitzReport:
    """Returns what is proven about each layer; `print` shows it as a table.

    Arguments and errors are those of `lipschitz_bound`.

    Returns:
        `LipschitzReport`.

    Examples:
        >>> encoder = keras.Sequential([keras.Input((8, 8, 2)), layers.GroupSort()])
        >>> report = lsrs_tf.lipschitz_report(encoder)
        >>> report.bound
        1.0
        >>> [row.layer_bound.kind for row in report.rows]
        ['isometric']
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
    with ReportRows() as rows:
        passage = Passage.of_images(_known_shape(layer_or_model, input_shape))
        passage = _through(layer_or_model, passage, "", rows).settled(rows)
    return LipschitzReport(rows.found(), passage.bound, passage.magnitude.error * (1 + 1e-9))


def bounded_by_encoder(
    model_class: type[keras.Model], encoder_of: Callable[[Any], keras.Layer]
) -> None:
    """Makes the bound of a class of models the bound of its encoder.

    Args:
        model_class: class of models.
        encoder_of: function of a model that returns its encoder, or raises if the model may use
            another one.

    Examples:
        >>> class Student(keras.Model):
        ...     def __init__(self, encoder):
        ...         super().__init__()
        ...         self.encoder = encoder
        ...
        >>> bounded_by_encoder(Student, lambda model: model.encoder)
        >>> lsrs_tf.lipschitz_bound(Student(model.encoder)) < 1.000001
        True
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


def _through(layer, passage, prefix, rows):
    """Returns the passage out of a layer or model, and adds rows for what it is made of."""
    refuse_patched(layer)
    if is_sequential(layer):
        return _through_sequential(layer, passage, prefix, rows)
    if is_functional(layer):
        return _through_functional(layer, passage, prefix, rows)
    if type(layer) is ConvexResidual:
        return _through_residual(layer, passage, prefix, rows)
    layer_bound = bound_of(layer, passage.shape, also_known=[*MERGES, ConvexResidual])
    outgoing = passage.through(layer, layer_bound, prefix + layer.name, rows)
    rows.add(prefix + layer.name, layer_bound)
    return outgoing


def _through_sequential(model, passage, prefix, rows):
    passage.flow.check_enters(model)
    for layer in model.layers:
        passage = _through(layer, passage, _inner_prefix(layer, prefix), rows)
    return passage


def _through_functional(model, passage, prefix, rows):
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"Model '{model.name}' must have one input and one output to have a Lipschitz bound. "
            f"Received: {len(model.inputs)} inputs and {len(model.outputs)} outputs."
        )
    passage.flow.check_enters(model)
    known = {id(model.inputs[0]): passage}
    for layer, inputs, outputs in nodes_in_order(model):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        incoming = [known[id(tensor)] for tensor in inputs]
        if type(layer) in MERGES:
            refuse_patched(layer)
            incoming = [passage.settled(rows) for passage in incoming]
            layer_bound = of_merge(
                layer,
                [passage.bound for passage in incoming],
                [passage.shape for passage in incoming],
            )
            rows.add(prefix + layer.name, layer_bound)
            outgoing = Passage.merged(layer, layer_bound.bound, incoming)
        elif len(incoming) == 1:
            outgoing = _through(layer, incoming[0], _inner_prefix(layer, prefix), rows)
        else:
            raise ValueError(
                f"No Lipschitz bound is known for layer '{layer.name}' of class "
                f"{type(layer).__module__}.{type(layer).__name__} with {len(incoming)} inputs."
            )
        for tensor in outputs:
            known[id(tensor)] = outgoing
    return known[id(model.outputs[0])]


def _inner_prefix(layer, prefix):
    return f"{prefix}{layer.name}/" if is_sequential(layer) or is_functional(layer) else prefix


def _through_residual(layer, passage, prefix, rows):
    refuse_patched(layer)
    inner = f"{prefix}{layer.name}/"
    passage = passage.settled(rows)
    # Branch and shortcut are bounded on their own.
    start = passage.restarted()
    branch = _through(layer.branch, start, inner, rows).settled(rows)
    shortcut = start
    if layer.shortcut is not None:
        shortcut = _through(layer.shortcut, start, inner, rows).settled(rows)
    if branch.shape != shortcut.shape:
        raise ValueError(
            f"Branch and shortcut of layer '{layer.name}' (ConvexResidual) give different shapes, "
            f"so that one would be repeated. Received: {branch.shape} and {shortcut.shape}."
        )
    check_finite(layer, layer.logit)
    layer_bound = convex_combination(layer, branch.bound, shortcut.bound)
    rows.add(prefix + layer.name, layer_bound)
    return passage.combined(layer_bound.bound, branch, shortcut, branch_weight(layer))
