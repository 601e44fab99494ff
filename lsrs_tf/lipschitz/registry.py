"""The one table of bound rules: which layers are bounded, and by what."""

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.graphs import refuse_patched
from lsrs_tf.lipschitz.layer_bound import LayerBound

# A function of a layer and the shape of its input.
Rule = TypeVar("Rule", bound=Callable[[Any, tuple[int | None, ...]], LayerBound])

_RULES: dict[type[keras.Layer], Callable[[Any, tuple[int | None, ...]], LayerBound]] = {}


def bound_rule(*classes: type[keras.Layer]) -> Callable[[Rule], Rule]:
    """Makes a function the rule of these layer classes; a decorator.

    The exact class decides: a subclass may have changed what the layer does.

    Args:
        classes: classes of Keras layers.

    Examples:
        >>> class Half(keras.layers.Layer):
        ...     def call(self, inputs):
        ...         return inputs / 2
        ...     def compute_output_shape(self, input_shape):
        ...         return input_shape
        ...
        >>> @bound_rule(Half)
        ... def bound_of_half(layer, input_shape):
        ...     return LayerBound(bound=0.5, kind="bounded", method="factor")
        ...
        >>> lsrs_tf.lipschitz_bound(keras.Sequential([keras.Input((4,)), Half()]))
        0.5
    """

    def registered(rule: Rule) -> Rule:
        for layer_class in classes:
            _RULES[layer_class] = rule
        return rule

    return registered


def known_classes() -> tuple[type[keras.Layer], ...]:
    """Returns the classes that have a rule."""
    return tuple(_RULES)


def bound_of(
    layer: keras.Layer,
    input_shape: tuple[int | None, ...],
    also_known: Iterable[type[keras.Layer]] = (),
) -> LayerBound:
    """Returns the `LayerBound` of one layer by its rule.

    Args:
        layer: built Keras layer.
        input_shape: tuple with the batch dimension; None for unknown sizes.
        also_known: further classes that can be bounded, for the message.

    Raises:
        ValueError: if there is no rule, or the weights are not finite or too large.
    """
    refuse_patched(layer)
    rule = _RULES.get(type(layer))
    if rule is None:
        raise ValueError(_unknown(layer, also_known))
    for weight in layer.weights:
        check_finite(layer, weight)
    try:
        layer_bound = rule(layer, input_shape)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(_overflow(layer)) from error
    if not math.isfinite(layer_bound.bound):
        raise ValueError(_overflow(layer))
    return layer_bound


def check_finite(layer, weight):
    """Raises if a weight of a layer has values that are not finite."""
    if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight))):
        raise ValueError(
            f"Weight '{weight.path}' of layer '{layer.name}' has values that are not finite; "
            "no bound holds for it. Load weights from before training diverged."
        )


def _unknown(layer, also_known):
    known = {known.__name__ for known in [*_RULES, *also_known]}
    close = difflib.get_close_matches(type(layer).__name__, sorted(known))
    base = next((base for base in type(layer).__mro__[1:] if base in _RULES), None)
    if base is not None:
        advice = f"It is a subclass of {base.__name__}, which may do something else; use that."
    elif isinstance(layer, keras.Model):
        advice = "Build it with keras.Sequential or with the functional API."
    else:
        advice = "Replace the layer, or move it into a head that is smoothed."
    if close:
        advice += f" Known layers with similar names: {', '.join(close)}."
    return (
        f"No Lipschitz bound is known for layer '{layer.name}' of class "
        f"{type(layer).__module__}.{type(layer).__name__}, so that no certificate can be "
        f"carried through it. {advice} The guide 'Use your own encoder' lists all known layers."
    )


def _overflow(layer):
    return (
        f"The transform of layer '{layer.name}' overflows: its gain or its weights are too large. "
        "Load weights from before training diverged."
    )
