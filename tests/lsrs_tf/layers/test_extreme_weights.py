"""Kernels of zeros, tiny and huge ones: outputs and gradients are finite, the constant stays 1."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, lipschitz_bound
from lsrs_tf.layers.weighted_layer import scale_of_large
from tests.oracles import jacobian

SCALES = [0, 1e-44, 1e-38, 1e-30, 1e-25, 1e-20, 1e-15, 1e-10, 1e-7, 1e-5, 1, 1e5, 1e8, 1e20, 1e30]
SHAPE = (4, 5, 3)


def _functions(layer, jit_compile):
    """Returns a function from images to outputs and gradients."""

    @tf.function(jit_compile=jit_compile)
    def outputs_and_gradients(images):
        with tf.GradientTape() as tape:
            outputs = layer(images)
            loss = tf.reduce_sum(outputs**2)
        return outputs, tape.gradient(loss, layer.trainable_variables)

    return outputs_and_gradients


def _kernels(layer):
    return [weight for weight in layer.trainable_variables if "kernel" in weight.name]


def _kernels_of_all_sizes(layer, largest=np.inf):
    """Assigns kernels of all sizes, whole and in one channel, and says which; the bias is 5."""
    layer.bias.assign(np.full(layer.bias.shape, 5.0))
    given = [kernel.numpy() for kernel in _kernels(layer)]
    for scale in [scale for scale in SCALES if scale <= largest]:
        for channels in (slice(None), slice(0, 1)):
            for axis in (-1, -2):
                for kernel, values in zip(_kernels(layer), given, strict=True):
                    scaled = values.copy()
                    np.moveaxis(scaled, axis, 0)[channels] *= scale
                    kernel.assign(scaled)
                yield f"{scale} of {channels} along {axis}"


def _assert_finite(function, images, case):
    outputs, gradients = function(images)
    for value in (outputs, *gradients):
        assert np.isfinite(value.numpy()).all(), case
    return outputs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", layers.PARAMETRIZATIONS)
def test_kernels_of_all_sizes_give_finite_outputs_and_gradients(name, dtype):
    layer = layers.convolution(name)(3, 3, dtype=dtype)
    images = tf.constant(np.random.default_rng(0).uniform(size=(2, *SHAPE)), dtype)
    layer(images)
    function = _functions(layer, jit_compile=False)
    # Its kernels are not normalized: huge ones have no Cayley transform, and are refused.
    for case in _kernels_of_all_sizes(layer, 1e5 if name == "scfac" else np.inf):
        _assert_finite(function, images, case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sll", "aol", "bro"])
def test_kernels_of_all_sizes_give_finite_outputs_and_gradients_in_xla(name, dtype):
    layer = layers.convolution(name)(3, 3, dtype=dtype)
    images = tf.constant(np.random.default_rng(0).uniform(size=(2, *SHAPE)), dtype)
    layer(images)
    plain, compiled = _functions(layer, jit_compile=False), _functions(layer, jit_compile=True)
    for case in _kernels_of_all_sizes(layer):
        outputs = _assert_finite(compiled, images, case)
        tolerance = 1e-5 * np.abs(outputs).max()
        np.testing.assert_allclose(outputs, plain(images)[0], atol=tolerance, err_msg=case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_sll_passes_a_channel_of_zeros_through(dtype, jit_compile):
    layer = layers.SDPLipschitzConv2D(3, 3, dtype=dtype)
    images = tf.constant(np.random.default_rng(0).uniform(size=(2, *SHAPE)), dtype)
    layer(images)
    function = _functions(layer, jit_compile)
    kernel = layer.kernel.numpy()
    for bias in (0.0, 3.9, 4.1, 1e3, 1e20):
        layer.bias.assign(np.full(3, bias))
        layer.kernel.assign(np.zeros_like(kernel))
        np.testing.assert_array_equal(_assert_finite(function, images, bias), images)
    layer.bias.assign([5.0, 5.0, 5.0])
    # An output of the inner convolution without a kernel adds nothing, whatever its bias is.
    alone = kernel.copy()
    alone[..., 1] = 0
    layer.kernel.assign(alone)
    outputs = _assert_finite(function, images, "column")
    layer.bias.assign([5.0, -5.0, 5.0])
    np.testing.assert_array_equal(function(images)[0], outputs)
    # A channel of the image that the inner convolution does not see.
    unseen = kernel.copy()
    unseen[:, :, 2, :] = 0
    layer.kernel.assign(unseen)
    outputs = _assert_finite(function, images, "row")
    np.testing.assert_allclose(outputs[..., 2], images[..., 2], atol=1e-6)
    assert lipschitz_bound(layer) <= 1 + 1e-9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_sll_with_q_of_all_sizes(dtype, jit_compile):
    layer = layers.SDPLipschitzConv2D(3, 3, dtype=dtype)
    images = tf.constant(np.random.default_rng(0).uniform(size=(2, *SHAPE)), dtype)
    layer(images)
    function = _functions(layer, jit_compile)
    kernel = layer.kernel.numpy()
    for size in (1.0, 20.0, 44.0, 100.0, 400.0, 1e30):
        for log_q in ([size, 0, -size], [size, -size, size], [0, 0, size]):
            layer.log_q.assign(log_q)
            for scale in (0, 1e-30, 1, 1e20, 1e30):
                layer.kernel.assign(kernel * scale)
                _assert_finite(function, images, (log_q, scale))
                if not jit_compile and dtype == "float32":
                    assert lipschitz_bound(layer) <= 1 + 1e-9, (log_q, scale)


@pytest.mark.parametrize("log_q", [[0, 0, 0], [3, 0, -5], [100, -100, 0], [40, 0, 80]])
@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1, 1e30])
def test_diagonal_of_sll_is_at_least_the_gram_matrix(scale, log_q):
    # By the matrix of the convolution, which shares no code with the layer.
    layer = layers.SDPLipschitzConv2D(3, 3, dtype="float64", use_bias=False)
    layer.build((None, *SHAPE))
    layer.kernel.assign(scale * layer.kernel.numpy())
    layer.log_q.assign(log_q)
    kernel, diagonal = (part.numpy() for part in layer.transformed_weights("float64"))
    convolution = layers.SDPLipschitzConv2D(3, 3, dtype="float64", use_bias=False)
    convolution.build((None, *SHAPE))

    def convolved(images):
        return convolution.convolved(
            tf.constant(images, tf.float64), 3, convolution.spectrum_of, (tf.constant(kernel),)
        )

    matrix = jacobian(convolved, SHAPE)
    large = np.tile(diagonal, SHAPE[0] * SHAPE[1])
    norm = np.linalg.norm(matrix / np.sqrt(large)[:, np.newaxis], 2)
    # For [[a r, -a], [-a, a / r]] it is 1, reached where a third channel adds nothing.
    assert norm <= 1 + 1e-12


def test_sll_of_a_huge_kernel_is_the_layer_of_the_formula():
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(2, *SHAPE))
    outputs = []
    for scale in (1e3, 1e9):
        layer = layers.SDPLipschitzConv2D(3, 3, dtype="float64")
        layer.build((None, *SHAPE))
        layer.kernel.assign(scale * np.random.default_rng(1).normal(size=(3, 3, 3, 3)))
        # Kernel and bias times a number, and T times its square: the same layer.
        layer.bias.assign([scale, -scale, 0.5 * scale])
        outputs.append(layer(images))
    np.testing.assert_allclose(*outputs, atol=1e-12)


def test_ordinary_kernels_are_not_scaled():
    kernel = tf.constant([1e6, -3.0, 0.0])
    assert scale_of_large(kernel) == 1.0
    assert float(scale_of_large(10 * kernel)) == pytest.approx(0.1)
    assert scale_of_large(0 * kernel) == 1.0


@pytest.mark.parametrize("scale", SCALES)
def test_dense_kernels_of_all_sizes(scale):
    layer = layers.OrthogonalDense(3)
    rows = keras.random.normal((4, 5))
    layer(rows)
    layer.kernel.assign(scale * layer.kernel.numpy())
    _assert_finite(_functions(layer, jit_compile=False), rows, scale)


@pytest.mark.parametrize("angle", [0.0, np.pi, 1e-30, 1e30, -3e38])
def test_householder_angles_of_all_sizes(angle):
    layer = layers.HouseholderActivation(keras.initializers.Constant(angle))
    images = keras.random.normal((2, 3, 3, 4))
    layer(images)
    outputs = _assert_finite(_functions(layer, jit_compile=False), images, angle)
    norms = [np.linalg.norm(keras.ops.convert_to_numpy(value)) for value in (images, outputs)]
    np.testing.assert_allclose(*norms, rtol=1e-5)
