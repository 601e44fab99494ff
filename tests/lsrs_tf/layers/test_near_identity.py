"""How near the identity convolutions begin, and that training can leave it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, lipschitz_bound
from tests.oracles import circular_convolution, jacobian

NAMES = list(layers.PARAMETRIZATIONS)
# Bounds of the norm of the map minus the identity, or, for 'bro', minus the exchange: proven in the
# docstrings for kernels of noise, else measured for random kernels.
CENTRED = {"aol": 0.041, "bjorck": 0.04, "spectral": 0.1, "bro": 0.0283}
MEASURED = {"cayley": 0.85, "soc": 0.45, "scfac": 1.0}
LINEAR = {**CENTRED, **MEASURED}
# More than twice as large as the kernel: no two shifts of a correlation fall on each other.
SHAPE = (5, 6, 4)


def _started(name, shape=SHAPE, kernel_size=3, **arguments):
    keras.utils.set_random_seed(0)
    layer = layers.convolution(name)(shape[-1], kernel_size, **arguments)
    layer.build((None, *shape))
    layer.begin_near_identity()
    return layer


def _exchange(channels, pairs):
    """Returns the matrix that exchanges the channels of the first pairs."""
    order = np.arange(channels)
    order[: 2 * pairs] = order[: 2 * pairs].reshape(-1, 2)[:, ::-1].ravel()
    return np.eye(channels)[order]


def _distance(layer, shape=SHAPE):
    """Returns the norm of a layer's map minus what it begins near to, by NumPy."""
    channels = shape[-1]
    pairs = channels // 4 if isinstance(layer, layers.BlockReflectorConv2D) else 0
    start = np.kron(np.eye(shape[0] * shape[1]), _exchange(channels, pairs))
    return np.linalg.norm(jacobian(layer, shape) - start, 2)


@pytest.mark.parametrize("name", LINEAR)
def test_map_is_near_the_identity(name):
    layer = _started(name)
    assert 1e-4 < _distance(layer) < LINEAR[name]
    assert lipschitz_bound(layer) <= 1 + 1e-9


@pytest.mark.parametrize("name", CENTRED)
@pytest.mark.parametrize(
    "initializer",
    ["zeros", "ones", keras.initializers.RandomNormal(stddev=1e8, seed=0), "identity_of_taps"],
)
def test_proven_distances_hold_for_any_initial_kernel(name, initializer):
    if initializer == "identity_of_taps":
        # All values in one channel, and in corners.
        def initializer(shape, dtype=None):
            return np.eye(np.prod(shape[:-1]), shape[-1]).reshape(shape)

    # Kernels of even sizes are centred by whole pixels.
    layer = _started(name, (4, 5, 4), (2, 4), kernel_initializer=initializer)
    assert _distance(layer, (4, 5, 4)) <= CENTRED[name] + 1e-6


@pytest.mark.parametrize("kernel_size", [(1, 1), (1, 3), (5, 3)])
def test_paraunitary_factors_cancel_in_pairs(kernel_size):
    layer = _started("scfac", (5, 5, 4), kernel_size)
    assert _distance(layer, (5, 5, 4)) < MEASURED["scfac"]
    if kernel_size[0] == 5:
        factors = layer.height_kernel.numpy()
        assert np.all(np.any(factors[::2] != factors[1::2], axis=(1, 2)))


def test_sdp_layer_sorts_pairs():
    layer = _started("sll")
    channels = SHAPE[-1]
    pairs = channels // 2
    kernel = layer.kernel.numpy().astype(np.float64)
    matrix = jacobian(lambda images: circular_convolution(images, kernel), SHAPE)
    # Rows of the adjoint, which the layer applies second, are those of the correlation.
    matrix /= np.sqrt(np.abs(matrix @ matrix.T).sum(axis=1))[:, np.newaxis]
    differences = np.zeros((channels, channels))
    for pair in range(pairs):
        differences[pair, 2 * pair : 2 * pair + 2] = [-np.sqrt(0.5), np.sqrt(0.5)]
    pixels = SHAPE[0] * SHAPE[1]
    sorting = np.kron(np.eye(pixels), differences)
    paired = np.tile(np.arange(channels) < pairs, pixels)
    # x - 2 A* relu(A x) for two matrices A of norm 1 at most.
    bound = 4 * np.linalg.norm((matrix - sorting)[paired], 2)
    bound += 2 * np.linalg.norm(matrix[~paired], 2) ** 2
    assert bound < 0.06
    images = np.random.default_rng(0).normal(size=(64, *SHAPE)).astype(np.float32)
    ordered = np.sort(images.reshape(-1, 2), axis=1)[:, ::-1].reshape(images.shape)
    change = np.linalg.norm((layer(images) - ordered).numpy().reshape(64, -1), axis=1)
    assert np.all(change < bound * np.linalg.norm(images.reshape(64, -1), axis=1))
    assert lipschitz_bound(layer) <= 1 + 1e-9


@pytest.mark.parametrize("hidden_filters", [2, 5, 12])
def test_sdp_layer_of_any_hidden_size_is_undone_by_sorting(hidden_filters):
    layer = _started("sll", hidden_filters=hidden_filters)
    images = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    sort = layers.GroupSort()
    change = np.linalg.norm(sort(layer(images)) - sort(images)) / np.linalg.norm(images)
    assert 1e-4 < change < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_sorted_images_reach_every_weight(name):
    layer = _started(name)
    rng = np.random.default_rng(0)
    # In a chain images are sorted before the layer and behind it.
    sort = layers.GroupSort()
    images = sort(rng.normal(size=(4, *SHAPE)).astype(np.float32))
    direction = rng.normal(size=images.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(sort(layer(images)) * direction)
    gradients = tape.gradient(loss, layer.trainable_weights)
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        size = np.abs(gradient.numpy())
        assert np.all(np.isfinite(size))
        # But for the diagonal of a skew matrix, a quarter of 4 x 4 values.
        assert np.mean(size > 1e-4) >= 0.75, weight.path


@pytest.mark.parametrize("name", ["cayley", "soc"])
def test_layers_with_a_gain_keep_their_kernel(name):
    keras.utils.set_random_seed(0)
    layer = layers.convolution(name)(4, 3)
    layer.build((None, 5, 5, 4))
    before = {weight.name: weight.numpy() for weight in layer.weights}
    layer.begin_near_identity()
    for weight in layer.weights:
        share = np.float32(0.2) if weight.name == "gain" else np.float32(1)
        np.testing.assert_array_equal(weight.numpy(), share * before[weight.name])


@pytest.mark.parametrize("name", NAMES)
def test_layers_that_change_shapes_are_refused_and_left_alone(name):
    for filters, strides in [(3, 1), (8, 2)]:
        layer = layers.convolution(name)(filters, 3, strides=strides)
        layer.build((None, 6, 6, 2))
        before = [weight.numpy() for weight in layer.weights]
        with pytest.raises(ValueError, match=f"strides of 1.*Received.*filters={filters}"):
            layer.begin_near_identity()
        for weight, old in zip(layer.weights, before, strict=True):
            np.testing.assert_array_equal(weight.numpy(), old)


@pytest.mark.parametrize(
    ("name", "channels", "kernel_size", "message"),
    [
        ("bro", 1, 3, "of one channel.*Use two channels"),
        ("sll", 1, 3, "of one channel.*Use two channels"),
        ("scfac", 4, (3, 2), r"odd height and width.*kernel_size=\(3, 2\)"),
    ],
)
def test_sizes_without_a_start_are_refused(name, channels, kernel_size, message):
    with pytest.raises(ValueError, match=message):
        _started(name, (5, 5, channels), kernel_size)


def test_layer_that_is_not_built_is_refused():
    with pytest.raises(ValueError, match="not built. Call it"):
        layers.OrthogonalConv2D(4, 3).begin_near_identity()


def test_class_of_its_own_has_to_say_how():
    class Own(layers.LipschitzConv2D):
        def add_kernels(self):
            pass

    layer = Own(4, 3)
    layer.build((None, 5, 5, 4))
    with pytest.raises(NotImplementedError, match="Own does not say.*assign_near_identity"):
        layer.begin_near_identity()
