"""Norms of the zero-padded, strided, dilated and grouped convolutions of Keras.

Cutting an image into strides is a permutation of its values, padding it with zeros an isometry, and
cropping shrinks. So every such convolution is part of a circular one of stride 1 on a larger
image of blocks, whose norm is the largest norm of its matrices of all frequencies. Small
convolutions are written out as one matrix instead, which is tighter.
"""

import math

import numpy as np
import tensorflow as tf

from lsrs_tf.numerics import spectral_norm
from lsrs_tf.numerics.rounding import round_up

# Sizes of matrices that are written out: the smaller side, the inputs, and the number of values.
_SMALL_SIDE, _SMALL_INPUTS, _SMALL_SIZE = 1024, 4096, 2**22
# Complex numbers in the matrices of the frequencies that are in memory together.
_GROUP_SIZE = 2**23


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
    matrix = small_matrix(kernel, image_size, strides, padding, dilation, groups)
    if matrix is not None:
        bound, smallest = spectral_norm.of_matrices(matrix)
        return bound, smallest, "matrix of the whole layer"
    kernel = _dilated(kernel, dilation)
    sizes = [
        _embedding_size(size, length, stride, padding)
        for size, length, stride in zip(image_size, kernel.shape[:2], strides, strict=True)
    ]
    bound = max(_of_embedding(part, sizes, strides) for part in np.split(kernel, groups, axis=3))
    return bound, None, "frequencies of a larger circular convolution"


def is_small(inputs, outputs):
    """Returns whether a matrix of so many inputs and outputs is written out."""
    return (
        min(inputs, outputs) <= _SMALL_SIDE
        and inputs <= _SMALL_INPUTS
        and inputs * outputs <= _SMALL_SIZE
    )


def small_matrix(kernel, image_size, strides, padding, dilation, groups):
    """Returns a convolution as a matrix [inputs, outputs], or None if that would be large.

    Arguments as for `of_convolution`.
    """
    channels = kernel.shape[2] * groups
    inputs = math.prod(image_size) * channels
    outputs = kernel.shape[3] * math.prod(
        -(-size // stride) for size, stride in zip(image_size, strides, strict=True)
    )
    if padding == "causal" or not is_small(inputs, outputs):
        return None
    return _written_out(_dilated(kernel, dilation), (*image_size, channels), strides, padding)


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


def number_of_windows(size, length, stride, padding):
    """Returns the size of the output of a convolution along a dimension.

    Args:
        size: int, pixels of the image.
        length: int, pixels of the kernel.
        stride: int.
        padding: 'valid' or 'same'.
    """
    return -(-size // stride) if padding == "same" else (size - length) // stride + 1


def _embedding_size(size, length, stride, padding):
    """Returns how many blocks of `stride` pixels a circular image needs to hold a padded one.

    The image begins behind the padding before it. What the last window reads beyond the end of the
    circle must be that padding again, so that it is zero.

    Args:
        size: int, pixels of the image along a dimension.
        length: int, pixels of the kernel.
        stride: int.
        padding: 'valid', 'same' or 'causal'.
    """
    if padding == "same":
        windows = -(-size // stride)
        before = max((windows - 1) * stride + length - size, 0) // 2
    elif padding == "causal":
        windows = -(-size // stride)
        before = length - 1
    else:
        windows = (size - length) // stride + 1
        before = 0
    last_read = (windows - 1) * stride + length - 1
    return max(-(-(before + size) // stride), (last_read - before) // stride + 1)


def _of_embedding(kernel, sizes, strides):
    blocks = _blocks(kernel, strides)
    rows, columns, channels, filters = blocks.shape
    if rows == columns == 1:
        # Blocks that do not overlap: one matrix for all of them.
        return spectral_norm.of_matrices(blocks[0, 0])[0]
    taps = blocks.reshape(rows * columns, channels * filters)
    # Each entry of a spectrum is an inner product of taps and waves, off by less than this.
    rounding = 8 * (rows * columns + 8) * spectral_norm.UNIT_ROUNDOFF
    perturbation = round_up(rounding * float(np.linalg.norm(np.sum(np.abs(taps), axis=0))))
    frequencies = _frequencies(*sizes)
    groups = np.array_split(frequencies, -(-len(frequencies) * channels * filters // _GROUP_SIZE))
    matrices = (
        (_waves(group, sizes, (rows, columns)) @ taps).reshape(-1, channels, filters)
        for group in groups
    )
    return spectral_norm.of_many(matrices, perturbation, len(groups))[0]


def _frequencies(height, width):
    """Returns the frequencies of real images, int array [frequencies, (row, column)].

    Conjugate frequencies have conjugate matrices, of equal norms: half of them are enough.
    """
    return np.array(
        [
            (row, column)
            for column in range(width // 2 + 1)
            for row in range(height // 2 + 1 if 2 * column % width == 0 else height)
        ]
    )


def _waves(frequencies, image_size, taps):
    """Returns the waves of frequencies at all taps, complex array [frequencies, taps].

    Args:
        frequencies: int array [frequencies, (row, column)].
        image_size: (height, width) of the circular image.
        taps: (rows, columns) of taps.
    """
    places = np.stack([place.ravel() for place in np.indices(taps)])
    # Whole turns are left out first, so that large products lose no digits.
    turns = sum(
        np.outer(frequencies[:, axis], places[axis]) % image_size[axis] / image_size[axis]
        for axis in range(2)
    )
    return np.exp(2j * np.pi * turns)


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
