"""The layer of a model that gives its logits."""

import keras

from lsrs_tf.graphs import is_functional
from lsrs_tf.models import LatentSmoothingModel

# Names of Keras' functions, and in lower case of its layers and operations.
_PROBABILITIES = ("softmax", "log_softmax", "logsoftmax", "sigmoid", "hard_sigmoid", "sparsemax")


def last_layer(model: keras.Layer) -> keras.Layer:
    """Returns the layer or operation that gives the output of a model.

    Identities behind it are left out. What cannot be looked into, a model of a subclass for
    instance, is its own last layer.

    Args:
        model: Keras layer or model, built or not.
    """
    if isinstance(model, LatentSmoothingModel):
        return last_layer(model.head)
    if isinstance(model, keras.Sequential):
        layers = [layer for layer in model.layers if not _is_identity(layer)]
        return last_layer(layers[-1]) if layers else model
    if is_functional(model) and len(model.outputs) == 1:
        return last_layer(_source(model.outputs[0]))
    return model


def _source(tensor):
    history = tensor._keras_history
    while _is_identity(history.operation):
        node = history.operation._inbound_nodes[history.node_index]
        history = node.input_tensors[0]._keras_history
    return history.operation


def _is_identity(layer):
    if type(layer) is keras.layers.Activation:
        return layer.activation is keras.activations.linear
    return type(layer) is keras.layers.Identity


def refuse_probabilities(model: keras.Model, loss: str) -> None:
    """Raises if a model ends in a function that turns logits into probabilities.

    Args:
        model: Keras model, built or not.
        loss: str, name of the loss for the error.

    Raises:
        ValueError: if it does, so that a loss would take probabilities for logits.
    """
    layer = last_layer(model)
    function = getattr(getattr(layer, "activation", None), "__name__", None)
    for name in (function, type(layer).__name__.lower()):
        if name in _PROBABILITIES:
            raise ValueError(
                f"{loss} needs logits, but layer '{layer.name}' ({type(layer).__name__}), the last "
                f"one of the model, gives those of a {name}. Remove the {name} from the model."
            )
