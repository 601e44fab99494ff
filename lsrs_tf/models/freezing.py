"""Freezing an encoder: the float64 snapshot that is certified and served."""

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf import layers
from lsrs_tf.graphs import is_functional, is_sequential, nodes_in_order, refuse_patched
from lsrs_tf.lipschitz.rules.merges import MERGES


def freeze_encoder(encoder, input_shape=None):
    """Returns a float64 copy of an encoder with its orthogonal transforms evaluated once.

    The copy shares nothing with the encoder: later training, assignment or loading of the encoder
    does not reach it, and there is no cache that could go stale.

    Args:
        encoder: a built Keras layer, `keras.Sequential` or functional model.
        input_shape: shape with the batch dimension, for a layer without weights, which does not
            know its own.

    Returns:
        A functional `keras.Model` of the same map, evaluated in float64.

    Raises:
        ValueError: if the encoder is not built, or is a subclassed model, whose layers cannot be
            taken one by one.

    Examples:
        >>> encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.OrthogonalConv2D(4, 3)])
        >>> frozen = freeze_encoder(encoder)
        >>> frozen(images).shape, frozen(images).dtype
        (TensorShape([4, 8, 8, 4]), tf.float64)
    """
    refuse_patched(encoder)
    if not encoder.built:
        raise ValueError(
            f"'{encoder.name}' ({type(encoder).__name__}) has not been built. Give it a "
            "`keras.Input`, or call it on an image, before it is frozen."
        )
    graph = is_sequential(encoder) or is_functional(encoder)
    if isinstance(encoder, keras.Model) and not graph:
        raise ValueError(
            f"'{encoder.name}' is a subclassed model ({type(encoder).__name__}), whose layers "
            "cannot be frozen one by one. Build it with keras.Sequential or with the functional "
            "API."
        )
    if graph:
        _refuse_rounding_inputs(encoder)
    shapes = (
        [tensor.shape for tensor in encoder.inputs]
        if graph
        else [_shape_of_layer(encoder, input_shape)]
    )
    # A model rounds what it gets to the dtype of its inputs: float32 ones would undo the rest.
    inputs = [keras.Input(batch_shape=shape, dtype="float64") for shape in shapes]
    copies = {}
    outputs = _frozen_outputs(encoder, inputs, copies)
    frozen = keras.Model(_one_or_all(inputs), _one_or_all(outputs), name=encoder.name)
    for layer, copy in copies.values():
        try:
            _frozen(layer).filled(layer, copy)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"The transform of layer '{layer.name}' cannot be evaluated: its gain or its "
                "weights are too large. Load weights from before training diverged."
            ) from error
    frozen.trainable = False
    return frozen


def _refuse_rounding_inputs(encoder):
    """Raises if Keras rounds what enters a model to whole numbers, which its copy would not do."""
    for tensor in encoder.inputs:
        if not keras.backend.is_float_dtype(tensor.dtype):
            raise ValueError(
                f"'{encoder.name}' ({type(encoder).__name__}) takes inputs of type {tensor.dtype}, "
                "so that Keras rounds what enters it; its frozen copy would not. Give its "
                "`keras.Input` dtype='float32'."
            )


def _shape_of_layer(layer, input_shape):
    config = layer.get_build_config()
    if config and config.get("input_shape"):
        return config["input_shape"]
    if input_shape is None:
        raise ValueError(
            f"'{layer.name}' ({type(layer).__name__}) does not know the shape of "
            "its inputs. Wrap it: keras.Sequential([keras.Input(shape), layer])."
        )
    return input_shape


def _frozen_outputs(encoder, inputs, copies):
    if is_functional(encoder):
        tensors = {id(old): new for old, new in zip(encoder.inputs, inputs, strict=True)}
        for layer, old_inputs, (old_output,) in nodes_in_order(encoder):
            if not isinstance(layer, keras.layers.InputLayer):
                new_inputs = [tensors[id(tensor)] for tensor in old_inputs]
                tensors[id(old_output)] = _frozen_call(layer, new_inputs, copies)
        return [tensors[id(tensor)] for tensor in encoder.outputs]
    for layer in encoder.layers if is_sequential(encoder) else [encoder]:
        inputs = [_frozen_call(layer, inputs, copies)]
    return inputs


def _frozen_call(layer, inputs, copies):
    refuse_patched(layer)
    if isinstance(layer, keras.layers.Lambda):
        raise ValueError(
            f"No Lipschitz bound is known for layer '{layer.name}' of class Lambda. Use layers "
            "that `lsrs_tf.lipschitz_bound` knows."
        )
    # A layer that is used several times has one copy, used as often.
    if id(layer) not in copies:
        copies[id(layer)] = (layer, _frozen(layer).made(layer))
    copy = copies[id(layer)][1]
    return copy(inputs if type(layer) in MERGES else _one_or_all(inputs))


def _one_or_all(tensors):
    return tensors[0] if len(tensors) == 1 else tensors


class _Frozen:
    """How a layer becomes part of a frozen encoder: as itself, in float64.

    One object for each kind of layer; the exact class decides, because a subclass may do something
    else than its transform says.
    """

    @staticmethod
    def made(layer):
        """Returns the copy, without its weights."""
        copy = type(layer).from_config({**layer.get_config(), "dtype": "float64"})
        # A function of one's own comes back as Keras' function of the same name.
        if getattr(copy, "activation", None) is not getattr(layer, "activation", None):
            raise ValueError(
                f"The activation of layer '{layer.name}' ({type(layer).__name__}) cannot be "
                "frozen, because it is not what Keras makes of its name. "
                f"Received: {layer.activation!r}. Use a function of keras.activations, or put the "
                "layer into the head."
            )
        return copy

    @staticmethod
    def filled(layer, copy):
        """Gives the copy, which has been built, the weights of the layer."""
        copy.set_weights(layer.get_weights())


class _FrozenModel(_Frozen):
    @staticmethod
    def made(layer):
        return freeze_encoder(layer)

    @staticmethod
    def filled(layer, copy):
        """Does nothing: the copy came with its weights."""


class _FrozenNormalization(_Frozen):
    @staticmethod
    def filled(layer, copy):
        copy.set_weights(layer.get_weights())
        # Makes the constants that it computes with.
        copy.finalize_state()
        if layer.input_mean is not None:
            return
        for name in ("mean", "variance"):
            frozen = keras.ops.cast(getattr(copy, name), layer.compute_dtype)
            if not np.array_equal(*map(keras.ops.convert_to_numpy, (frozen, getattr(layer, name)))):
                raise ValueError(
                    f"Layer '{layer.name}' (Normalization) computes with another {name} than its "
                    "weights say. Call its `finalize_state()` after weights were assigned."
                )


class _FrozenWrapped(_Frozen):
    """A layer of Keras that in inference is the layer inside."""

    @staticmethod
    def made(layer):
        refuse_patched(layer.layer)
        copy = _frozen(layer.layer).made(layer.layer)
        # Layers inside may have one name.
        copy.name = layer.name
        return copy

    @staticmethod
    def filled(layer, copy):
        _frozen(layer.layer).filled(layer.layer, copy)


class _FrozenSpectrum(_Frozen):
    @staticmethod
    def made(layer):
        return layers.SpectralConv2D(
            layer.filters,
            strides=layer.strides,
            use_bias=layer.use_bias,
            pointwise=layer.is_pointwise,
            name=layer.name,
            dtype="float64",
        )

    @staticmethod
    def filled(layer, copy):
        copy.spectrum.assign(layer.spectrum("float64"))
        _fill_bias(layer, copy)


class _FrozenMatrix(_Frozen):
    @staticmethod
    def made(layer):
        return layers.FixedDense(
            layer.units, use_bias=layer.use_bias, name=layer.name, dtype="float64"
        )

    @staticmethod
    def filled(layer, copy):
        copy.kernel.assign(layer.matrix("float64"))
        _fill_bias(layer, copy)


class _FrozenResidualMatrix(_Frozen):
    @staticmethod
    def made(layer):
        return layers.FixedResidualDense(
            layer.units,
            hidden_units=layer.inner_size,
            use_bias=layer.use_bias,
            name=layer.name,
            dtype="float64",
        )

    @staticmethod
    def filled(layer, copy):
        kernel, diagonal = layer.transformed_weights("float64")
        copy.kernel.assign(kernel)
        copy.diagonal.assign(diagonal)
        if layer.use_bias:
            copy.bias.assign(layer.transformed_bias("float64"))


class _FrozenResidualConvolution(_FrozenResidualMatrix):
    @staticmethod
    def made(layer):
        return layers.FixedResidualConv2D(
            layer.filters,
            layer.kernel_size,
            layer.strides,
            hidden_filters=layer.hidden,
            use_bias=layer.use_bias,
            name=layer.name,
            dtype="float64",
        )

    @staticmethod
    def filled(layer, copy):
        _FrozenResidualMatrix.filled(layer, copy)
        copy.log_q.assign(keras.ops.cast(layer.log_q, "float64"))


class _FrozenResidual(_Frozen):
    @staticmethod
    def made(layer):
        shape = layer.get_build_config()["input_shape"]
        return layers.ConvexResidual(
            freeze_encoder(layer.branch, shape),
            None if layer.shortcut is None else freeze_encoder(layer.shortcut, shape),
            name=layer.name,
            dtype="float64",
        )

    @staticmethod
    def filled(layer, copy):
        # Branch and shortcut arrived frozen, weights and all.
        copy.logit.assign(keras.ops.cast(layer.logit, "float64"))


def _fill_bias(layer, copy):
    if layer.use_bias:
        copy.bias.assign(keras.ops.cast(layer.bias, "float64"))


# Layers with a spectrum, but for that whose activation is inside.
_LINEAR = frozenset(layers.PARAMETRIZATIONS.values()) - {layers.SDPLipschitzConv2D}
_KINDS = {
    layers.BjorckDense: _FrozenMatrix,
    layers.ExponentialDense: _FrozenMatrix,
    layers.OrthogonalDense: _FrozenMatrix,
    layers.SDPLipschitzConv2D: _FrozenResidualConvolution,
    layers.SDPLipschitzDense: _FrozenResidualMatrix,
    layers.SpectralDense: _FrozenMatrix,
    keras.layers.Normalization: _FrozenNormalization,
    keras.layers.SpectralNormalization: _FrozenWrapped,
    layers.ConvexResidual: _FrozenResidual,
}


def _frozen(layer):
    """Returns how a layer is frozen."""
    if is_sequential(layer) or is_functional(layer):
        return _FrozenModel
    # Large spectra are evaluated anew, by columns: a network for large images would not fit into
    # memory. Those that training holds as a whole, in float32, are held here, too: to evaluate one
    # takes longer than all the rest of a ResNet18.
    if type(layer) in _LINEAR and not layer.spectrum_is_large("float32"):
        return _FrozenSpectrum
    return _KINDS.get(type(layer), _Frozen)
