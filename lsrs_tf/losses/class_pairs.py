"""Lipschitz constants of the differences between two logits."""

import keras
import numpy as np
import tensorflow as tf

from lsrs_tf.layers import FixedDense, OrthogonalDense
from lsrs_tf.losses.last_layer import last_layer
from lsrs_tf.models import LatentSmoothingModel


def linear_last_layer(model: keras.Model, loss: str) -> keras.Layer:
    """Returns the dense layer that gives a model's logits.

    Args:
        model: Keras model, built or not. In a `LatentSmoothingModel` that layer must be the only
            one of the head that has weights, so that the encoder's constant holds for all before.
        loss: str, name of the loss for the error.

    Raises:
        ValueError: if there is none.
    """
    layer = last_layer(model)
    advice = (
        f"Give {loss} pairwise=False and the Lipschitz constant of the whole model, from pixels to "
        "logits, as `lipschitz`; or use a model of a Lipschitz encoder and one Dense layer."
    )
    is_linear = type(layer) in (FixedDense, OrthogonalDense) or (
        type(layer) is keras.layers.Dense and layer.activation is keras.activations.linear
    )
    if not is_linear:
        raise ValueError(
            f"{loss} reads the constants of pairs of classes from a last layer that is a Dense "
            f"without activation. Received: '{layer.name}' ({type(layer).__name__}). {advice}"
        )
    if isinstance(model, LatentSmoothingModel) and len(model.head.weights) > len(layer.weights):
        raise ValueError(
            f"{loss} reads the constants of pairs of classes from a head of one layer with "
            f"weights. Received: a head '{model.head.name}' with other weights before its last "
            f"layer '{layer.name}', whose Lipschitz constant is unknown. {advice}"
        )
    return layer


def kernel_of(layer: keras.Layer) -> tf.Tensor:
    """Returns the matrix [features, classes] that a layer of `linear_last_layer` multiplies by."""
    if type(layer) is OrthogonalDense:
        return layer.matrix("float32")
    return tf.convert_to_tensor(layer.kernel)


def distances_of_columns(kernel: tf.Tensor) -> tf.Tensor:
    """Returns the L2 distances [classes, classes] of the columns of a kernel, in float64.

    Args:
        kernel: float tensor [features, classes].
    """
    kernel = tf.cast(kernel, tf.float64)
    # Float64 makes up for the cancellation between products that a matrix product permits.
    products = tf.matmul(kernel, kernel, transpose_a=True)
    norms = tf.linalg.diag_part(products)
    squares = norms[:, None] + norms[None, :] - 2 * products
    apart = squares > 0
    # The root has no gradient at 0.
    return tf.where(apart, tf.sqrt(tf.where(apart, squares, 1.0)), 0.0)


def global_constants(classes: int) -> np.ndarray:
    """Returns the constants [classes, classes] for logits of the Lipschitz constant 1.

    The difference of two coordinates of a map with the constant L has the constant sqrt(2) L.
    """
    return np.sqrt(2) * (1 - np.eye(classes))
