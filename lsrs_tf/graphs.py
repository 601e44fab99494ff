"""Which Keras models are plain graphs of layers, so that their parts can be taken one by one."""

import functools

import keras

# What Keras itself puts in front of the methods of a class, in every layer or compiled model.
_OF_KERAS = {"build", "loss", "quantize"}


def is_sequential(layer):
    """Returns whether layer is exactly a `keras.Sequential`, not a subclass of it."""
    return type(layer) is keras.Sequential


def is_functional(layer):
    """Returns whether layer is exactly a functional `keras.Model`, not a subclass of it."""
    return type(layer) is _functional_class()


@functools.cache
def _functional_class():
    # Keras gives functional models a class of their own that is not public. Named, so that the
    # names that Keras counts up for the user's layers do not move.
    tensor = keras.Input((1,), name="probe_input")
    return type(keras.Model(tensor, keras.layers.Identity(name="probe")(tensor), name="probe"))


def refuse_patched(layer):
    """Raises if the methods of one layer object are not those of its class."""
    patched = {
        name
        for name, value in vars(layer).items()
        if callable(value) and callable(getattr(type(layer), name, None))
    } - _OF_KERAS
    if patched:
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has its own "
            f"{', '.join(sorted(patched))} instead of that of its class, so that nothing is known "
            "about what it does. Write a layer of your own, for a head that is smoothed."
        )


def nodes_in_order(model):
    """Returns the calls of layers that make up a functional model, inputs first.

    Args:
        model: a functional `keras.Model`.

    Returns:
        List of (layer, input tensors, output tensors).

    Raises:
        ValueError: if an operation is not a layer, or a layer was called with more than its inputs
            (`training=True`, say), because then it does not behave as the layer alone.
    """
    calls = []
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if not isinstance(node.operation, keras.Layer):
                raise ValueError(
                    f"Model '{model.name}' applies the operation '{node.operation.name}' "
                    f"({type(node.operation).__name__}), which is not a layer: nothing is known "
                    "about its Lipschitz constant. Use layers only in an encoder."
                )
            # Keras notes the default training=False of a layer as if it had been given.
            given = {
                name: value
                for name, value in node.arguments.kwargs.items()
                if value is not None and not (name == "training" and value is False)
            }
            if given or len(node.arguments.args) > 1:
                raise ValueError(
                    f"Layer '{node.operation.name}' ({type(node.operation).__name__}) of model "
                    f"'{model.name}' is called with extra arguments, which may change what it "
                    f"does. Received: {given or node.arguments.args[1:]}. Call it on its input "
                    "alone."
                )
            calls.append((node.operation, node.input_tensors, node.outputs))
    return calls
