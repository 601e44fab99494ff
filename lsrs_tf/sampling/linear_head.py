"""Heads of one dense layer: their noisy logits depend on few numbers of the latent."""

import keras
import numpy as np
import scipy.linalg

from lsrs_tf.graphs import nodes_in_order
from lsrs_tf.layers import FixedDense
from lsrs_tf.lipschitz.layer_properties import check_plain, float64
from lsrs_tf.models.freezing import freeze_encoder
from lsrs_tf.sampling.row_independence import is_half

# Relative to the norms of two columns; the factorization in float64 is off by about 1e-15.
_TOLERANCE = 1e-11


def with_few_latents(encoder, head):
    """Returns an encoder and a head with the same noisy logits, between them few latents.

    The noisy logits of a dense layer are W'(z + e) + b, with W' the transpose of its kernel. Let
    W = QR, with orthonormal columns of Q. Then they are R'(Q'z + Q'e) + b, and Q'e is Gaussian
    noise of the same standard deviation, because the columns of Q are orthonormal: the law of the
    logits, N(W'z + b, sigma^2 W'W), is the same. So Q' joins the encoder, R and b are the new head,
    and a latent has as many values as there are classes, or fewer.

    Args:
        encoder: frozen encoder, a functional model.
        head: Keras layer or model of one dense layer, see `dense_weights`.

    Returns:
        (encoder, head): functional models in float64.

    Raises:
        ValueError: if the head is of another kind, or cannot be factorized.
    """
    latent_shape = tuple(encoder.outputs[0].shape[1:])
    kernel, bias = dense_weights(head, latent_shape)
    columns, triangle = factorized(kernel)
    latents = encoder.outputs[0]
    if len(latent_shape) > 1:
        latents = keras.layers.Flatten(data_format="channels_last", dtype="float64")(latents)
    projection = FixedDense(columns.shape[1], use_bias=False, dtype="float64")
    inner = keras.Model(encoder.inputs[0], projection(latents), name=encoder.name)
    projection.kernel.assign(columns)
    inner.trainable = False
    few = keras.Input((columns.shape[1],), dtype="float32")
    dense = FixedDense(kernel.shape[1], dtype="float64")
    outer = keras.Model(few, dense(few))
    dense.kernel.assign(triangle)
    dense.bias.assign(bias)
    return inner, outer


def factorized(kernel):
    """Returns (Q, R) of W = QR, checked to have R'R = W'W.

    Args:
        kernel: float64 array [values, classes], W.

    Raises:
        ValueError: if it has values that are not finite, or the factors are not accurate.
    """
    if not np.all(np.isfinite(kernel)):
        raise ValueError(
            "The head has weights that are not finite. Load weights from before training diverged."
        )
    columns, triangle = scipy.linalg.qr(kernel, mode="economic")
    # Classes with the same weights tie in every sample, and have to go on doing so.
    _, first, same = np.unique(kernel, axis=1, return_index=True, return_inverse=True)
    triangle = triangle[:, first[same]]
    norms = np.linalg.norm(kernel, axis=0)
    error = np.abs(triangle.T @ triangle - kernel.T @ kernel)
    if not np.all(error <= _TOLERANCE * np.outer(norms, norms)):
        raise ValueError(
            "The weights of the head cannot be factorized accurately, so that its logits would "
            "have another law. Use noise='float32'."
        )
    return columns, triangle


def dense_weights(head, latent_shape):
    """Returns kernel and bias of a head that is one dense layer, in float64.

    Args:
        head: Keras layer or model.
        latent_shape: tuple, the shape of one latent.

    Returns:
        (float64 array [values, classes], float64 array [classes]).

    Raises:
        ValueError: if it is anything but one `keras.layers.Dense` without activation, or one of
            the dense layers of this package without one, after `keras.layers.Flatten` or not, or
            if it computes in half precision.
    """
    try:
        chain = _chain(freeze_encoder(head, (None, *latent_shape)))
        for layer in chain:
            check_plain(layer)
    except ValueError as error:
        raise ValueError(f"{_REFUSAL} Received: {error}") from error
    kinds = [type(layer) for layer in chain]
    flat = len(latent_shape) == 1 or kinds[:1] == [keras.layers.Flatten]
    if kinds[:1] == [keras.layers.Flatten]:
        kinds = kinds[1:]
    if not flat or kinds not in ([keras.layers.Dense], [FixedDense]) or is_half(head):
        names = ", ".join(f"{type(layer).__name__}" for layer in chain)
        raise ValueError(
            f"{_REFUSAL} Received: a head of {names or 'no layers'}"
            f"{' in half precision' if is_half(head) else ''} for latents of shape {latent_shape}."
        )
    dense = chain[-1]
    if getattr(dense, "activation", None) not in (None, keras.activations.linear):
        raise ValueError(f"{_REFUSAL} Received: a head with the activation {dense.activation!r}.")
    bias = float64(dense.bias) if dense.use_bias else np.zeros(dense.units)
    return float64(dense.kernel), bias


_REFUSAL = (
    "noise='logits' needs a head that is one dense layer without an activation, in float32 or "
    "float64, after a Flatten or not: only then the noise of the logits is Gaussian. Use "
    "noise='float32' or 'exact' for other heads."
)


def _chain(model):
    """Returns the layers of a frozen head, or raises if they are not applied one by one."""
    if not isinstance(model, keras.Model):
        return [model]
    layers, tensor = [], model.inputs[0]
    for layer, inputs, outputs in nodes_in_order(model):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if len(inputs) != 1 or inputs[0] is not tensor:
            raise ValueError(f"model '{model.name}', whose layers are not a chain.")
        tensor = outputs[0]
        layers += _chain(layer)
    return layers
