"""Freezing an encoder: the float64 snapshot that is certified and served."""

import keras

from lsrs_tf import layers
from lsrs_tf.graphs import is_functional, is_sequential, nodes_in_order


def freeze_encoder(encoder):
    """Returns a float64 copy of an encoder with every orthogonal transform evaluated once.

    The copy shares nothing with the encoder: later training, assignment or loading of the encoder
    does not reach it, and there is no cache that could go stale.

    Args:
        encoder: a built Keras layer, `keras.Sequential` or functional model.

    Returns:
        A built `keras.Model` or layer of the same map, evaluated in float64.

    Raises:
        ValueError: if the encoder is not built, or is a subclassed model, whose layers cannot be
            taken one by one.
    """
    if not encoder.built:
        raise ValueError(
            f"Encoder '{encoder.name}' has not been built. Give it a `keras.Input`, or call it on "
            "an image, before it is frozen."
        )
    if is_sequential(encoder) or is_functional(encoder):
        return _freeze_graph(encoder)
    if isinstance(encoder, keras.Model):
        raise ValueError(
            f"Encoder '{encoder.name}' is a subclassed model ({type(encoder).__name__}), whose "
            "layers cannot be frozen one by one. Build the encoder with keras.Sequential or with "
            "the functional API."
        )
    return _freeze_graph(_graph_of_one_layer(encoder))


def _graph_of_one_layer(layer):
    # The layer itself must not be called again here: a copy of it takes its place.
    shape = layer.get_build_config()["input_shape"]
    images = keras.Input(batch_shape=shape)
    return keras.Model(images, layer(images))


def _freeze_graph(model):
    # A model rounds what it gets to the dtype of its inputs: float32 ones would undo the rest.
    inputs = [
        keras.Input(batch_shape=tensor.shape, dtype="float64", name=tensor.name)
        for tensor in model.inputs
    ]
    copies = {}
    if is_sequential(model):
        outputs = inputs
        for layer in model.layers:
            outputs = [_frozen_call(layer, outputs, copies)]
    else:
        outputs = _frozen_outputs(model, inputs, copies)
    frozen = keras.Model(_one_or_all(inputs), _one_or_all(outputs), name=model.name)
    for layer, copy in copies.values():
        _copy_weights(layer, copy)
    frozen.trainable = False
    return frozen


def _frozen_outputs(model, inputs, copies):
    tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
    for layer, old_inputs, (old_output,) in nodes_in_order(model):
        if not isinstance(layer, keras.layers.InputLayer):
            new_inputs = [tensors[id(tensor)] for tensor in old_inputs]
            tensors[id(old_output)] = _frozen_call(layer, new_inputs, copies)
    return [tensors[id(tensor)] for tensor in model.outputs]


def _frozen_call(layer, inputs, copies):
    # A layer that is used several times has one copy, used as often.
    if id(layer) not in copies:
        copies[id(layer)] = (layer, _float64_copy(layer))
    return copies[id(layer)][1](_one_or_all(inputs))


def _one_or_all(tensors):
    return tensors[0] if len(tensors) == 1 else tensors


def _float64_copy(layer):
    if type(layer) is layers.OrthogonalConv2D:
        return layers.SpectralConv2D(
            layer.filters,
            strides=layer.strides,
            use_bias=layer.use_bias,
            name=layer.name,
            dtype="float64",
        )
    if type(layer) is layers.ConvexResidual:
        return layers.ConvexResidual(
            freeze_encoder(layer.branch),
            None if layer.shortcut is None else freeze_encoder(layer.shortcut),
            name=layer.name,
            dtype="float64",
        )
    if is_sequential(layer) or is_functional(layer):
        return freeze_encoder(layer)
    return type(layer).from_config({**layer.get_config(), "dtype": "float64"})


def _copy_weights(layer, frozen):
    if type(layer) is layers.OrthogonalConv2D:
        frozen.spectrum.assign(layer.stacked_spectrum("float64"))
        if layer.use_bias:
            frozen.bias.assign(keras.ops.cast(layer.bias, "float64"))
    elif type(layer) is layers.ConvexResidual:
        # Branch and shortcut arrived frozen, weights and all.
        frozen.logit.assign(keras.ops.cast(layer.logit, "float64"))
    elif not (is_sequential(layer) or is_functional(layer)):
        frozen.set_weights(layer.get_weights())
