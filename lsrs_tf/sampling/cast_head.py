"""Heads cast to half precision for the passes, without training again."""

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.graphs import is_functional, is_sequential, refuse_patched

HEAD_DTYPES = ("bfloat16",)

# A copy without a cast gives the logits of the head to this part of their standard deviation, on
# machines that do not give bit-equal logits twice.
_TOLERANCE = 1e-4
# For layers that do more where values are large.
_SCALES = (1.0, 1e3)
# Rows that are compared, where the head does not fix their number.
_ROWS = 4


def checked_head_dtype(head_dtype):
    """Returns what a head is cast to, or raises if it is neither None nor one of `HEAD_DTYPES`."""
    if head_dtype is not None and not (isinstance(head_dtype, str) and head_dtype in HEAD_DTYPES):
        raise ValueError(
            f"`head_dtype` must be one of {', '.join(map(repr, HEAD_DTYPES))}, or None for the "
            f"head's own. Received: head_dtype={head_dtype!r}"
        )
    return head_dtype


def check_goes_with(head_dtype, noise):
    """Raises if a head is to be cast under noise whose proof is about logits in float64.

    Args:
        head_dtype: see `checked_head_dtype`.
        noise: str, the name of a kind of noise.
    """
    if head_dtype is not None and noise == "logits":
        raise ValueError(
            "noise='logits' makes a head of its own, in float64, whose law of the logits is "
            f"proven; it cannot be cast. Received: head_dtype={head_dtype!r}. Leave it out, or use "
            "noise='float32' or 'exact'."
        )


def cast_head(head, head_dtype, latent_shape):
    """Returns a copy of a head that computes in another dtype, with the same weights.

    The copy is another function of the latent, because it rounds more. A certificate of it is one
    of the smoothed classifier with the cast head, and says nothing about the head in its own dtype.

    Layers get Keras' policy 'mixed_bfloat16', as if they had been made under it: weights stay in
    float32, and are cast where they are used, so that statistics of normalizations keep their
    precision. The last layer with weights, and what comes after it, keeps its own policy: logits of
    8 bits would often tie, and a tie is no vote. Latents are rounded by the first layer, after
    noise was added to them in float32.

    Args:
        head: built `keras.Sequential` or functional model, of layers or models of these kinds.
        head_dtype: one of `HEAD_DTYPES`.
        latent_shape: tuple, the shape of one latent.

    Returns:
        A Keras model. It is a snapshot: later training of the head does not reach it.

    Raises:
        ValueError: if the head is of another kind, has no layer to cast, cannot be copied by its
            configuration, or does not run in the other dtype.

    Examples:
        >>> cast = cast_head(model.head, "bfloat16", (4, 4, 4))
        >>> [layer.compute_dtype for layer in cast.layers if layer.weights][:1]
        ['bfloat16']
    """
    checked_head_dtype(head_dtype)
    if not _is_graph(head):
        raise ValueError(
            f"{_REFUSAL} Received: head '{head.name}' ({type(head).__name__}). Build it with "
            "keras.Sequential or with the functional API, of more layers than one."
        )
    kept = _last_layers(head)
    cast = [layer for layer in _layers(head) if layer.weights and id(layer) not in kept]
    if not cast:
        raise ValueError(
            f"head_dtype={head_dtype!r} casts the layers before the last one with weights, and "
            f"the head '{head.name}' has none there: nothing would be faster. Leave it out; heads "
            "of one dense layer have noise='logits'."
        )
    try:
        same = copied(head, lambda layer: None, latent_shape)
        copy = copied(
            head, lambda layer: None if id(layer) in kept else f"mixed_{head_dtype}", latent_shape
        )
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{_REFUSAL} Head '{head.name}' cannot be copied: {error}") from error
    latents = _latents(head, latent_shape)
    _check_same_function(head, same, latents)
    _check_runs(copy, head_dtype, latents)
    copy.trainable = False
    return copy


_REFUSAL = (
    "head_dtype needs a head that is a keras.Sequential or functional model of layers which their "
    "`get_config` describes wholly."
)


def _is_graph(layer):
    return is_sequential(layer) or is_functional(layer)


def _layers(model):
    """Yields all layers of a model that are no models themselves."""
    for layer in model.layers:
        if _is_graph(layer):
            yield from _layers(layer)
        else:
            yield layer


def _last_layers(model):
    """Returns the ids of the layers from the last one with weights on, a set of int.

    Of a model that ends with a model, only the layers of that one are looked at.
    """
    kept = set()
    for layer in _from_the_end(model):
        if _is_graph(layer):
            return kept | _last_layers(layer)
        kept.add(id(layer))
        if layer.weights:
            break
    return kept


def _from_the_end(model):
    """Yields the layers of a model from the last one on, as long as each has one input."""
    if is_sequential(model):
        yield from reversed(model.layers)
        return
    tensors = model.outputs
    while len(tensors) == 1:
        operation, node, _ = tensors[0]._keras_history
        if isinstance(operation, keras.layers.InputLayer):
            return
        if isinstance(operation, keras.Layer):
            yield operation
        tensors = operation._inbound_nodes[node].input_tensors


def copied(model, policy_of, input_shape):
    """Returns a copy of a model with its weights, whose layers have other policies.

    Args:
        model: `keras.Sequential` or functional model.
        policy_of: function of a layer that returns the name of its policy, or None for its own.
        input_shape: tuple, the shape of one input.

    Raises:
        TypeError, ValueError, NotImplementedError: if a layer cannot be copied by its
            configuration.
    """
    copies = []

    def copied_operation(operation):
        if not isinstance(operation, keras.Layer):
            # An operation of `keras.ops`, which has no weights and no dtype of its own.
            return type(operation).from_config(operation.get_config())
        refuse_patched(operation)
        config, policy = operation.get_config(), policy_of(operation)
        copy = type(operation).from_config(
            config if policy is None else _with_policy(config, policy)
        )
        copies.append((operation, copy))
        return copy

    refuse_patched(model)
    copy = keras.models.clone_model(model, clone_function=copied_operation, recursive=True)
    if not copy.built:
        copy.build((None, *input_shape))
    for layer, its_copy in copies:
        its_copy.set_weights(layer.get_weights())
        # Those inside a layer, too.
        for part in its_copy._flatten_layers():
            if isinstance(part, keras.layers.Normalization):
                # Makes the constants that it computes with.
                part.finalize_state()
    return copy


def _with_policy(config, policy):
    """Returns the configuration of a layer, those of layers inside included, with a policy.

    Raises:
        ValueError: if a layer is quantized.
    """
    if isinstance(config, list | tuple):
        return type(config)(_with_policy(entry, policy) for entry in config)
    if not isinstance(config, dict):
        return config
    if str(config.get("class_name", "")).endswith(("DTypePolicy", "DTypePolicyMap")):
        if config["class_name"] != "DTypePolicy":
            raise ValueError(f"a layer has the policy {config}, which is not a plain one.")
        return keras.saving.serialize_keras_object(keras.dtype_policies.get(policy))
    return {name: _with_policy(entry, policy) for name, entry in config.items()}


def _latents(head, latent_shape):
    """Returns latents to compare heads with, a list of float32 tensors [rows, *latent shape]."""
    rows = (head.inputs[0].shape[0] if head.inputs else None) or _ROWS
    normal = tf.random.stateless_normal([rows, *latent_shape], seed=[0, 1])
    return [scale * normal for scale in _SCALES]


def _check_same_function(head, same, latents):
    """Raises if a copy that was not cast gives other logits than the head."""
    for rows in latents:
        expected, found = (
            np.asarray(part(rows, training=False), np.float64) for part in (head, same)
        )
        if np.array_equal(expected, found, equal_nan=True):
            continue
        difference = np.abs(found - expected).max()
        if not difference <= _TOLERANCE * np.std(expected):
            raise ValueError(
                f"{_REFUSAL} Received: a head '{head.name}' whose copy gives logits that differ by "
                f"up to {difference:.3g} before anything is cast. Put what its layers hold into "
                "their `get_config` or into weights."
            )


def _check_runs(copy, head_dtype, latents):
    """Raises if a head that was cast does not run."""
    try:
        copy(latents[0], training=False)
    except (TypeError, ValueError, tf.errors.OpError) as error:
        raise ValueError(
            f"The head '{copy.name}' does not run in {head_dtype}, with layers that cast to their "
            f"`compute_dtype`: {error}. Leave out head_dtype."
        ) from error
