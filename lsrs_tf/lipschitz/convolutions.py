"""Norms of the zero-padded, strided, dilated and grouped convolutions of Keras.

Cutting an image into strides is a permutation of its values, padding it with zeros an isometry, and
cropping shrinks. So every such convolution is part of a circular one of stride 1 on a larger
image of blocks, whose norm is the largest norm of its matrices of all frequencies. Small
convolutions are written out as one matrix instead, which is tighter.
"""

import math

import numpy as np
import tensorflow as tf

from lsrs_tf.lipschitz import spectral_norm
from lsrs_tf.lipschitz.rounding import round_up

# Sizes of matrices that are written out: the smaller side, the inputs, and the number of values.
_SMALL_SIDE, _SMALL_INPUTS, _SMALL_SIZE = 1024, 4096, 2**22


def of_convolution(kernel, image_size, strides, padding, dilation, groups):
    """Bounds the norm of a two-dimensional convolution.

    Args:
        kernel: float64 array [kernel_height, kernel_width, channels / groups, filters].
        image_size: (height, width) of the input in pixels.
        strides: pair of ints.
        padding: 'valid', 'same' or 'causal'.
        dilation: pair of ints.
        groups: int.

    Returns:
        (bound, smallest singular value or None, method).
    """
    kernel = _dilated(kernel, dilation)
    height, width = image_size
    channels = kernel.shape[2] * groups
    inputs = height * width * channels
    outputs = kernel.shape[3] * math.prod(
        -(-size // stride) for size, stride in zip(image_size, strides, strict=True)
    )
    small = (
        min(inputs, outputs) <= _SMALL_SIDE
        and inputs <= _SMALL_INPUTS
        and inputs * outputs <= _SMALL_SIZE
    )
    if small and padding != "causal":
        matrix = _written_out(kernel, (height, width, channels), strides, padding)
        bound, smallest = spectral_norm.of_matrices(matrix)
        return bound, smallest, "matrix of the whole layer"
    bound = max(
        _of_embedding(part, image_size, strides) for part in np.split(kernel, groups, axis=3)
    )
    return bound, None, "frequencies of a larger circular convolution"


def of_depthwise_convolution(kernel, image_size, strides, padding, dilation):
    """Does the same for a kernel [kernel_height, kernel_width, channels, multiplier]."""
    kernel_height, kernel_width, channels, multiplier = kernel.shape
    return of_convolution(
        kernel.reshape(kernel_height, kernel_width, 1, channels * multiplier),
        image_size,
        strides,
        padding,
        dilation,
        groups=channels,
    )


def _dilated(kernel, dilation):
    rows, columns = dilation
    shape = ((kernel.shape[0] - 1) * rows + 1, (kernel.shape[1] - 1) * columns + 1)
    dilated = np.zeros((*shape, *kernel.shape[2:]))
    dilated[::rows, ::columns] = kernel
    return dilated


def _written_out(kernel, input_shape, strides, padding):
    """Returns the matrix of the layer; its values are values of the kernel, unrounded."""
    size = math.prod(input_shape)
    groups = input_shape[2] // kernel.shape[2]
    # On the CPU, where no fast algorithm adds and subtracts values of the kernel.
    with tf.device("CPU:0"):
        impulses = tf.reshape(tf.eye(size, dtype=tf.float64), [size, *input_shape])
        # TensorFlow has no groups in float64: they are convolved one by one.
        outputs = [
            tf.nn.conv2d(image, part, strides, padding.upper())
            for image, part in zip(
                tf.split(impulses, groups, axis=3), np.split(kernel, groups, axis=3), strict=True
            )
        ]
    return np.concatenate([part.numpy() for part in outputs], axis=3).reshape(size, -1)


def _of_embedding(kernel, image_size, strides):
    blocks = _blocks(kernel, strides)
    rows, columns, channels, filters = blocks.shape
    if rows == columns == 1:
        # Blocks that do not overlap: one matrix for all of them.
        return spectral_norm.of_matrices(blocks[0, 0])[0]
    # The padded image is at most a kernel longer on either side; zeros fill the rest.
    height, width = (
        -(-(size + 2 * length) // stride) + taps
        for size, length, stride, taps in zip(
            image_size, kernel.shape[:2], strides, (rows, columns), strict=True
        )
    )
    taps = blocks.reshape(rows * columns, channels * filters)
    # Each entry of a spectrum is an inner product of taps and waves, off by less than this.
    rounding = 8 * (rows * columns + 8) * spectral_norm.UNIT_ROUNDOFF
    perturbation = round_up(rounding * float(np.linalg.norm(np.sum(np.abs(taps), axis=0))))
    bounds = []
    for column in range(width // 2 + 1):
        # Whole turns are left out first, so that large products lose no digits.
        turns = (
            np.outer(np.arange(height), np.repeat(np.arange(rows), columns)) % height / height
            + column * np.tile(np.arange(columns), rows) % width / width
        )
        matrices = (np.exp(2j * np.pi * turns) @ taps).reshape(height, channels, filters)
        bounds.append(spectral_norm.of_matrices(matrices, perturbation)[0])
    return float(np.max(bounds))


def _blocks(kernel, strides):
    """Returns the kernel of stride 1 over blocks, [rows, columns, block * channels, filters]."""
    rows, columns = (
        -(-size // stride) for size, stride in zip(kernel.shape[:2], strides, strict=True)
    )
    padded = np.zeros((rows * strides[0], columns * strides[1], *kernel.shape[2:]))
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    blocks = padded.reshape(rows, strides[0], columns, strides[1], *kernel.shape[2:])
    blocks = blocks.transpose(0, 2, 1, 3, 4, 5)
    return blocks.reshape(rows, columns, -1, kernel.shape[3])
