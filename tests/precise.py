"""Encoders evaluated with far more digits than float64 has; shares no code with the package.

Arrays hold `numpy.longdouble` numbers, or mpmath's in arrays of objects, where values cancel by
more than its 19 digits. Only the weights and settings of frozen layers are read.
"""

import keras
import mpmath
import numpy as np

from lsrs_tf import layers


class Longdouble:
    """80-bit floating point: enough for ordinary networks."""

    dtype = np.longdouble

    @staticmethod
    def array(values):
        return np.asarray(values, np.longdouble)

    @staticmethod
    def map(function, values):
        # Through mpmath where NumPy has no such function; few values go this way.
        with mpmath.workdps(30):
            flat = [
                function(mpmath.mpf(float(v)) + mpmath.mpf(float(v - float(v))))
                for v in values.ravel()
            ]
            return np.array([np.longdouble(mpmath.nstr(v, 25)) for v in flat]).reshape(values.shape)


class Mpmath:
    """Numbers of 120 digits: for weights that cancel, and extreme scales."""

    dtype = object
    digits = 800

    @staticmethod
    def array(values):
        values = np.asarray(values)
        flat = [v if isinstance(v, mpmath.mpf) else mpmath.mpf(float(v)) for v in values.ravel()]
        return np.array(flat, object).reshape(values.shape)

    @staticmethod
    def map(function, values):
        return np.array([function(v) for v in values.ravel()], object).reshape(values.shape)


def evaluate(layer, values, numbers):
    """Returns the outputs of a frozen layer or model for images [batch, ...]."""
    if isinstance(layer, keras.Sequential):
        for inner in layer.layers:
            values = evaluate(inner, values, numbers)
        return values
    if isinstance(layer, keras.Model):
        return _functional(layer, values, numbers)
    return _LAYERS[type(layer)](layer, values, numbers)


def _functional(model, values, numbers):
    known = {id(model.inputs[0]): values}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if isinstance(node.operation, keras.layers.InputLayer):
                continue
            inputs = [known[id(tensor)] for tensor in node.input_tensors]
            inputs = inputs if len(inputs) > 1 else inputs[0]
            known[id(node.outputs[0])] = evaluate(node.operation, inputs, numbers)
    return known[id(model.outputs[0])]


def _weights(variable, numbers):
    return numbers.array(keras.ops.convert_to_numpy(variable))


def _zero(values):
    return 0 * values


def _activated(function, values, numbers):
    name = getattr(function, "__name__", "linear")
    if function is None or name == "linear":
        return values
    if name == "relu":
        return np.where(values > 0, values, _zero(values))
    if name == "softmax":
        shifted = values - values.max(axis=-1, keepdims=True)
        powers = numbers.map(mpmath.exp, shifted)
        return powers / powers.sum(axis=-1, keepdims=True)
    return numbers.map(_FUNCTIONS[name], values)


_FUNCTIONS = {
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)) if x < 100 else x + mpmath.exp(-x),
    "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "selu": lambda x: (
        mpmath.mpf(1.05070098) * (x if x > 0 else mpmath.mpf(1.67326324) * mpmath.expm1(x))
    ),
}


def _dense(layer, values, numbers):
    outputs = values @ _weights(layer.kernel, numbers)
    if layer.use_bias:
        outputs = outputs + _weights(layer.bias, numbers)
    return _activated(getattr(layer, "activation", None), outputs, numbers)


def _conv2d(layer, values, numbers):
    kernel = _weights(layer.kernel, numbers)
    (rows, columns), (step, across) = kernel.shape[:2], layer.strides
    height, width = values.shape[1:3]
    if layer.padding == "same":
        out = -(-height // step), -(-width // across)
        pads = [
            max((count - 1) * stride + taps - size, 0)
            for count, stride, taps, size in zip(
                out, layer.strides, (rows, columns), (height, width), strict=True
            )
        ]
    else:
        out, pads = ((height - rows) // step + 1, (width - columns) // across + 1), (0, 0)
    padded = np.zeros(
        (values.shape[0], height + pads[0], width + pads[1], values.shape[3]), numbers.dtype
    )
    padded = numbers.array(padded) if numbers.dtype is object else padded
    top, left = pads[0] // 2, pads[1] // 2
    padded[:, top : top + height, left : left + width] = values
    outputs = 0
    for row in range(rows):
        for column in range(columns):
            part = padded[
                :,
                row : row + (out[0] - 1) * step + 1 : step,
                column : column + (out[1] - 1) * across + 1 : across,
            ]
            outputs = outputs + part @ kernel[row, column]
    if layer.use_bias:
        outputs = outputs + _weights(layer.bias, numbers)
    return _activated(layer.activation, outputs, numbers)


def _batch_normalization(layer, values, numbers):
    variance = _weights(layer.moving_variance, numbers) + numbers.array(layer.epsilon)
    roots = variance**0.5 if numbers.dtype is object else np.sqrt(variance)
    outputs = (values - _weights(layer.moving_mean, numbers)) / roots
    if layer.scale:
        outputs = outputs * _weights(layer.gamma, numbers)
    return outputs + _weights(layer.beta, numbers) if layer.center else outputs


def _as_keras_has_it(number, numbers):
    # Keras rounds the numbers of a configuration to float32 on their way to float64.
    return numbers.array(keras.ops.convert_to_numpy(keras.ops.cast(number, "float64")))


def _standardization(layer, values, numbers):
    return (values - numbers.array(layer.mean)) / numbers.array(layer.std)


def _downsampled(values, pool_size):
    rows, columns = pool_size
    batch, height, width, channels = values.shape
    blocks = values.reshape(batch, height // rows, rows, width // columns, columns, channels)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(
        batch, height // rows, width // columns, rows * columns * channels
    )


def _spectral(layer, values, numbers):
    images = _downsampled(values, layer.strides)
    stacked = _weights(layer.spectrum, numbers)
    outputs = _convolved(images, *np.split(stacked, 2, axis=2), layer.pointwise, numbers)
    return outputs + _weights(layer.bias, numbers) if layer.use_bias else outputs


def _convolved(images, real, imaginary, pointwise, numbers):
    """Convolves with matrices [width // 2 + 1, height, filters, channels] of all frequencies."""
    if pointwise:
        return images @ real[0, 0].T
    height, width = images.shape[1:3]
    columns = width // 2 + 1
    cos_w, sin_w = _waves(columns, width, width, numbers)
    cos_h, sin_h = _waves(height, height, height, numbers)
    # Along the width, then along the height; real and imaginary parts apart.
    re, im = _along(cos_w, images, 2), -_along(sin_w, images, 2)
    re, im = (
        _along(cos_h, re, 1) + _along(sin_h, im, 1),
        _along(cos_h, im, 1) - _along(sin_h, re, 1),
    )
    filters = real.shape[2]
    shape = (*re.shape[:3], filters)
    out_re, out_im = np.zeros(shape, numbers.dtype), np.zeros(shape, numbers.dtype)
    for row in range(height):
        for column in range(columns):
            a, b = real[column, row].T, imaginary[column, row].T
            x, y = re[:, row, column], im[:, row, column]
            out_re[:, row, column] = x @ a - y @ b
            out_im[:, row, column] = x @ b + y @ a
    re = (_along(cos_h, out_re, 1) - _along(sin_h, out_im, 1)) / height
    im = (_along(cos_h, out_im, 1) + _along(sin_h, out_re, 1)) / height
    counts = np.full(columns, 2)
    counts[0] = 1
    if width % 2 == 0:
        counts[-1] = 1
    counts = numbers.array(counts).reshape(1, 1, -1, 1)
    return (_along(cos_w.T, re * counts, 2) - _along(sin_w.T, im * counts, 2)) / width


def _waves(rows, columns, period, numbers):
    turns = np.outer(np.arange(rows), np.arange(columns)) % period
    with mpmath.workdps(30 if numbers is Longdouble else mpmath.mp.dps):
        table = [
            (mpmath.cospi(mpmath.mpf(2 * k) / period), mpmath.sinpi(mpmath.mpf(2 * k) / period))
            for k in range(period)
        ]
        if numbers is Longdouble:
            table = [[np.longdouble(mpmath.nstr(v, 25)) for v in pair] for pair in table]
    cosines, sines = np.array(table, numbers.dtype).T
    return cosines[turns], sines[turns]


def _along(matrix, values, axis):
    return np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)


def _fixed_residual_convolution(layer, values, numbers):
    """x - 2 W* T^-1 relu(W x + b) in pixels."""
    kernel = _weights(layer.kernel, numbers)
    images = _downsampled(values, layer.strides)
    padded = np.zeros((*images.shape[:3], kernel.shape[2]), numbers.dtype)
    padded[..., : images.shape[3]] = images
    hidden = _circular(padded, kernel)
    if layer.use_bias:
        hidden = hidden + _weights(layer.bias, numbers)
    hidden = np.where(hidden > 0, hidden, _zero(hidden)) / _weights(layer.diagonal, numbers)
    step = _circular(hidden, np.transpose(kernel, [0, 1, 3, 2]), sign=-1)
    return (padded - 2 * step)[..., : layer.filters]


def _fixed_residual(layer, values, numbers):
    kernel = _weights(layer.kernel, numbers)
    padded = np.zeros((*values.shape[:-1], kernel.shape[0]), numbers.dtype)
    padded[..., : values.shape[-1]] = values
    hidden = padded @ kernel
    if layer.use_bias:
        hidden = hidden + _weights(layer.bias, numbers)
    hidden = np.where(hidden > 0, hidden, _zero(hidden)) / _weights(layer.diagonal, numbers)
    return (padded - 2 * (hidden @ kernel.T))[..., : layer.units]


def _circular(images, kernel, sign=1):
    centre = [(size - 1) // 2 for size in kernel.shape[:2]]
    outputs = 0
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            shift = (sign * (row - centre[0]), sign * (column - centre[1]))
            outputs = outputs + np.roll(images, shift, axis=(1, 2)) @ kernel[row, column]
    return outputs


def _convex_residual(layer, values, numbers):
    branch = evaluate(layer.branch, values, numbers)
    shortcut = values if layer.shortcut is None else evaluate(layer.shortcut, values, numbers)
    logit = mpmath.mpf(float(layer.logit.numpy()))
    with mpmath.workdps(30 if numbers is Longdouble else mpmath.mp.dps):
        weight = 1 / (1 + mpmath.exp(-logit))
        if numbers is Longdouble:
            weight = np.longdouble(mpmath.nstr(weight, 25))
    return shortcut + weight * (branch - shortcut)


def _group_sort(layer, values, _):
    groups = values.reshape(*values.shape[:-1], -1, layer.group_size)
    return np.sort(groups, axis=-1).reshape(values.shape)


def _relu(layer, values, _):
    return np.where(values > 0, values, _zero(values))


_LAYERS = {
    keras.layers.InputLayer: lambda layer, values, numbers: values,
    keras.layers.Flatten: lambda layer, values, numbers: values.reshape(len(values), -1),
    keras.layers.Dense: _dense,
    keras.layers.Conv2D: _conv2d,
    keras.layers.ReLU: _relu,
    keras.layers.Activation: lambda layer, values, numbers: _activated(
        layer.activation, values, numbers
    ),
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.Rescaling: lambda layer, values, numbers: (
        values * _as_keras_has_it(layer.scale, numbers) + _as_keras_has_it(layer.offset, numbers)
    ),
    keras.layers.GlobalAveragePooling2D: lambda layer, values, numbers: (
        values.sum(axis=(1, 2)) / (values.shape[1] * values.shape[2])
    ),
    keras.layers.Add: lambda layer, values, numbers: sum(values[1:], values[0]),
    keras.layers.Concatenate: lambda layer, values, numbers: np.concatenate(values, axis=-1),
    layers.ConvexResidual: _convex_residual,
    layers.FixedDense: _dense,
    layers.FixedResidualConv2D: _fixed_residual_convolution,
    layers.FixedResidualDense: _fixed_residual,
    layers.GroupSort: _group_sort,
    layers.InvertibleDownsampling: lambda layer, values, numbers: _downsampled(
        values, layer.pool_size
    ),
    layers.SpectralConv2D: _spectral,
    layers.Standardization: _standardization,
}
