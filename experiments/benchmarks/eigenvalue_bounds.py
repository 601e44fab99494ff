"""Norms as they were bounded first: an eigenvalue solver for every frequency, layer by layer.

To compare `lsrs_tf.lipschitz_bound` with: convolutions on a circle that is larger than it needs to
be, all eigenvalues of all frequencies, and products of the norms of neighbours.
"""

import math

import keras
import numpy as np

from lsrs_tf.lipschitz.convolutions import small_matrix

_UNIT_ROUNDOFF = 2.0**-53


def bound_of_layers(layers, input_shape):
    """Returns the product of the norms of plain linear layers of Keras.

    Args:
        layers: list of built layers: `Dense`, `Conv2D`, `DepthwiseConv2D`, `SeparableConv2D` (all
            without dilation, groups or activation) and `BatchNormalization`.
        input_shape: tuple with the batch dimension, the input of the first.
    """
    bound = 1.0
    for layer in layers:
        bound *= _bound(layer, tuple(input_shape[1:-1]))
        input_shape = layer.compute_output_shape(input_shape)
    return bound


def _bound(layer, image_size):
    if isinstance(layer, keras.layers.Dense):
        return _norm(_float64(layer.kernel))
    if isinstance(layer, keras.layers.BatchNormalization):
        deviations = np.sqrt(_float64(layer.moving_variance) + layer.epsilon)
        return float(np.max(np.abs(_float64(layer.gamma)) / deviations))
    if isinstance(layer, keras.layers.SeparableConv2D):
        return _depthwise(layer, _float64(layer.depthwise_kernel), image_size) * _norm(
            _float64(layer.pointwise_kernel)[0, 0]
        )
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return _depthwise(layer, _float64(layer.kernel), image_size)
    return _convolution(layer, _float64(layer.kernel), image_size, groups=1)


def _float64(weight):
    return keras.ops.convert_to_numpy(weight).astype(np.float64)


def _depthwise(layer, kernel, image_size):
    height, width, channels, multiplier = kernel.shape
    kernel = kernel.reshape(height, width, 1, channels * multiplier)
    return _convolution(layer, kernel, image_size, groups=channels)


def _convolution(layer, kernel, image_size, groups):
    matrix = small_matrix(kernel, image_size, layer.strides, layer.padding, (1, 1), groups)
    if matrix is not None:
        return _norm(matrix)
    parts = np.split(kernel, groups, axis=3)
    return max(_of_embedding(part, image_size, layer.strides) for part in parts)


def _of_embedding(kernel, image_size, strides):
    blocks = _blocks(kernel, strides)
    rows, columns, channels, filters = blocks.shape
    height, width = (
        -(-(size + 2 * length) // stride) + taps
        for size, length, stride, taps in zip(
            image_size, kernel.shape[:2], strides, (rows, columns), strict=True
        )
    )
    taps = blocks.reshape(rows * columns, channels * filters)
    norms = []
    for column in range(width // 2 + 1):
        turns = (
            np.outer(np.arange(height), np.repeat(np.arange(rows), columns)) / height
            + column * np.tile(np.arange(columns), rows) / width
        )
        matrices = (np.exp(2j * np.pi * turns) @ taps).reshape(height, channels, filters)
        norms.append(_norm(matrices))
    return max(norms)


def _blocks(kernel, strides):
    rows, columns = (
        -(-size // stride) for size, stride in zip(kernel.shape[:2], strides, strict=True)
    )
    padded = np.zeros((rows * strides[0], columns * strides[1], *kernel.shape[2:]))
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    blocks = padded.reshape(rows, strides[0], columns, strides[1], *kernel.shape[2:])
    blocks = blocks.transpose(0, 2, 1, 3, 4, 5)
    return blocks.reshape(rows, columns, -1, kernel.shape[3])


def _norm(matrices):
    """Returns the largest norm of matrices: all eigenvalues, then one factorization as a proof."""
    rows, columns = matrices.shape[-2:]
    adjoint = np.conj(np.swapaxes(matrices, -1, -2))
    gram = adjoint @ matrices if rows >= columns else matrices @ adjoint
    size = gram.shape[-1]
    largest = float(np.linalg.eigvalsh(gram).max())
    factorization = 8 * (size + 8) * size * _UNIT_ROUNDOFF
    frobenius = float(np.linalg.norm(matrices, axis=(-2, -1)).max())
    slack = 8 * (max(rows, columns) + 8) * _UNIT_ROUNDOFF * frobenius**2
    limit = largest * (1 + factorization) + slack
    np.linalg.cholesky(limit * np.eye(size) - gram)
    return math.sqrt(limit * (1 + 2 * factorization) + slack)
