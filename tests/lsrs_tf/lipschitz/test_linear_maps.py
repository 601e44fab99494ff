"""Chains of linear layers, bounded as one map."""

import time

import keras
import numpy as np
import pytest
import scipy.linalg

import lsrs_tf
from lsrs_tf import layers, lipschitz_bound
from lsrs_tf.lipschitz import convolutions
from lsrs_tf.models.freezing import freeze_encoder
from lsrs_tf.numerics import spectral_norm
from tests.oracles import jacobian

Layers = keras.layers
SHAPE = (6, 5, 2)

# Chains that are folded, and whether the bound is the constant itself.
CHAINS = {
    "convolution, normalization": lambda: [Layers.Conv2D(4, 3), Layers.BatchNormalization()],
    "normalization, convolution": lambda: [
        Layers.BatchNormalization(),
        Layers.Conv2D(4, 3, padding="same", use_bias=False),
    ],
    "convolution, rescaling": lambda: [Layers.Conv2D(2, 2), Layers.Rescaling([0.1, 30.0])],
    "standardization, convolution": lambda: [
        layers.Standardization([0.4, 0.6], [0.01, 2.0]),
        Layers.Conv2D(3, 3, strides=2, padding="same"),
    ],
    "convolution, pointwise": lambda: [Layers.Conv2D(4, 3, strides=2), Layers.Conv2D(3, 1)],
    "pointwise, convolution": lambda: [Layers.Conv2D(3, 1), Layers.Conv2D(4, 3, padding="same")],
    "depthwise, pointwise": lambda: [Layers.DepthwiseConv2D(3), Layers.Conv2D(3, 1)],
    "separable, normalization": lambda: [Layers.SeparableConv2D(3, 3), Layers.BatchNormalization()],
    "grouped, normalization": lambda: [
        Layers.Conv2D(4, 3, groups=2),
        Layers.BatchNormalization(),
        Layers.Conv2D(4, 1),
    ],
    "normalization, grouped": lambda: [
        Layers.BatchNormalization(),
        Layers.Conv2D(4, 3, groups=2),
    ],
    "two convolutions": lambda: [Layers.Conv2D(3, 3, padding="same"), Layers.Conv2D(2, 3)],
    "two convolutions, normalization": lambda: [
        Layers.Conv2D(3, 3, padding="same"),
        Layers.Conv2D(2, 3),
        Layers.BatchNormalization(),
    ],
    "two convolutions, rescaling": lambda: [
        Layers.Conv2D(3, 2),
        Layers.Conv2D(3, 2, strides=2),
        Layers.Rescaling([0.1, 2.0, 30.0]),
    ],
    "dropout between": lambda: [
        Layers.Conv2D(4, 3),
        Layers.Dropout(0.3),
        Layers.BatchNormalization(),
    ],
    "dense on channels": lambda: [
        Layers.Conv2D(4, 3),
        Layers.Dense(3),
        Layers.BatchNormalization(),
    ],
    "flattened": lambda: [Layers.BatchNormalization(), Layers.Flatten(), Layers.Dense(4)],
    "convolution, flattened": lambda: [Layers.Conv2D(2, 3), Layers.Flatten(), Layers.Dense(4)],
    "dense, normalization, dense": lambda: [
        Layers.Flatten(),
        Layers.Dense(7),
        Layers.BatchNormalization(),
        Layers.Dense(3),
    ],
}


def _chain(parts, rng, shape=SHAPE):
    model = keras.Sequential([keras.Input(shape), *parts])
    for weight in model.weights:
        values = rng.normal(size=weight.shape)
        if "variance" in weight.path:
            # Filters of very different scales, as training makes them.
            values = 10.0 ** rng.uniform(-3, 3, size=weight.shape)
        weight.assign(values)
    return model


@pytest.mark.parametrize("kind", CHAINS)
def test_chain_is_bounded_by_the_norm_of_its_product(kind):
    model = _chain(CHAINS[kind](), np.random.default_rng(0))
    exact = np.linalg.norm(jacobian(freeze_encoder(model), SHAPE), 2)
    for encoder in (model, freeze_encoder(model)):
        assert exact * (1 - 1e-6) <= lipschitz_bound(encoder) <= exact * (1 + 1e-6)
    assert exact * (1 - 1e-9) <= lipschitz_bound(freeze_encoder(model))


def test_normalization_undoes_the_scales_of_filters():
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            Layers.Conv2D(16, 3, padding="same"),
            Layers.BatchNormalization(epsilon=1e-9),
        ]
    )
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.uniform(-2, 2, 16)
    kernel = rng.normal(size=(3, 3, 3, 16)) / 5
    model.layers[0].kernel.assign(kernel * scales)
    model.layers[1].moving_variance.assign(scales**2)
    plain = keras.Sequential([keras.Input((32, 32, 3)), Layers.Conv2D(16, 3, padding="same")])
    plain.layers[0].kernel.assign(kernel)
    assert lipschitz_bound(model) == pytest.approx(lipschitz_bound(plain), rel=1e-2)
    rows = {row.name: row.layer_bound.bound for row in lsrs_tf.lipschitz_report(model).rows}
    assert lipschitz_bound(model) < 0.02 * np.prod([rows[layer.name] for layer in model.layers])


@pytest.mark.parametrize("by_default", [False, True])
def test_flattening_that_moves_channels_is_not_folded(by_default):
    def parts(flatten):
        return [
            [Layers.Rescaling([1.0, 1000.0]), flatten(), Layers.BatchNormalization()],
            [Layers.Conv2D(3, 3, padding="same"), flatten(), Layers.Dense(5)],
        ]

    if by_default:
        keras.config.set_image_data_format("channels_first")
        flattens = [Layers.Flatten() for _ in range(2)]
        keras.config.set_image_data_format("channels_last")
    else:
        flattens = [Layers.Flatten(data_format="channels_first") for _ in range(2)]
    rng = np.random.default_rng(0)
    for index in range(2):
        model = _chain(parts(lambda i=index: flattens[i])[index], rng, (3, 2, 2))
        frozen = freeze_encoder(model)
        exact = np.linalg.norm(jacobian(frozen, (3, 2, 2)), 2)
        assert exact * (1 - 1e-9) <= lipschitz_bound(frozen)
        assert exact * (1 - 1e-6) <= lipschitz_bound(model)


@pytest.mark.parametrize("scale", [[0.7, 0.3], (0.7, 0.3), np.array([0.7, 0.3])])
def test_factors_of_a_rescaling_that_neighbours_cancel_are_those_that_run(scale):
    model = keras.Sequential(
        [
            keras.Input((1,)),
            Layers.Dense(2, use_bias=False),
            Layers.Rescaling(scale),
            Layers.Dense(1, use_bias=False),
        ]
    )
    _check_cancelling(model, np.array([0.7, 0.3]))


@pytest.mark.parametrize("epsilon", [1e-3, 1e-4, 1e-5])
def test_factors_of_a_normalization_that_neighbours_cancel_are_those_that_run(epsilon):
    norm = Layers.BatchNormalization(epsilon=epsilon, center=False)
    model = keras.Sequential(
        [
            keras.Input((1,)),
            Layers.Dense(2, use_bias=False),
            norm,
            Layers.Dense(1, use_bias=False),
        ]
    )
    norm.moving_variance.assign([0.0, 1.0])
    _check_cancelling(model, 1 / np.sqrt(np.array([0.0, 1.0]) + epsilon))


def _check_cancelling(model, factors):
    for nearest in (factors, np.float64(np.float32(factors))):
        model.layers[0].kernel.assign([[1.0, np.float32(nearest[0] / nearest[1])]])
        model.layers[2].kernel.assign([[1.0], [-1.0]])
        frozen = freeze_encoder(model)
        exact = np.abs(jacobian(frozen, (1,))).max()
        assert lipschitz_bound(frozen) >= exact * (1 - 1e-6)
        assert lipschitz_bound(model) >= exact * (1 - 1e-6)


def test_large_layers_of_zeros_have_a_bound():
    for shape, layer in (
        ((300,), Layers.Dense(200, kernel_initializer="zeros")),
        ((4, 4, 160), Layers.Conv2D(160, 3, padding="same", kernel_initializer="zeros")),
    ):
        bound = lipschitz_bound(keras.Sequential([keras.Input(shape), layer]))
        assert 0 <= bound < 1e-100


def test_activation_ends_a_chain():
    parts = [
        Layers.BatchNormalization(),
        Layers.Conv2D(3, 3, activation="relu"),
        Layers.BatchNormalization(),
    ]
    model = _chain(parts, np.random.default_rng(0))
    frozen = freeze_encoder(model)
    linear = keras.Sequential(
        [keras.Input(SHAPE), Layers.BatchNormalization(), Layers.Conv2D(3, 3)]
    )
    linear.set_weights(model.get_weights()[: len(linear.get_weights())])
    # The order of get_weights is that of the layers.
    last = float(
        np.max(
            np.abs(
                np.asarray(parts[2].gamma) / np.sqrt(np.asarray(parts[2].moving_variance) + 1e-3)
            )
        )
    )
    assert lipschitz_bound(frozen) == pytest.approx(lipschitz_bound(linear) * last, rel=1e-5)


def test_value_that_goes_to_two_layers_is_bounded_on_both_ways():
    images = keras.Input(SHAPE)
    convolution = Layers.Conv2D(2, 3, padding="same")(images)
    normalized = Layers.BatchNormalization()(convolution)
    model = keras.Model(images, Layers.Add()([convolution, normalized]))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(np.abs(rng.normal(size=weight.shape)))
    exact = np.linalg.norm(jacobian(freeze_encoder(model), SHAPE), 2)
    assert exact <= lipschitz_bound(model) * (1 + 1e-9)


def test_folded_chain_through_a_nested_model():
    inner = keras.Sequential([keras.Input((4, 3, 4)), Layers.BatchNormalization()])
    model = _chain([Layers.Conv2D(4, 3), inner], np.random.default_rng(1))
    exact = np.linalg.norm(jacobian(freeze_encoder(model), SHAPE), 2)
    assert exact * (1 - 1e-6) <= lipschitz_bound(model) <= exact * (1 + 1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (3, 2), (5, 5)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("size", [(5, 6), (9, 7)])
def test_circle_of_an_embedding_is_large_enough(monkeypatch, padding, strides, dilation, size):
    if strides != (1, 1) and dilation != (1, 1):
        pytest.skip("Keras has no strides with dilation")
    rng = np.random.default_rng(0)
    for kernel_size in [(2, 3), (3, 3), (4, 2)]:
        if any((k - 1) * d + 1 > s for k, d, s in zip(kernel_size, dilation, size, strict=True)):
            continue
        # Kernels of one sign gain most where nothing cancels; others at all frequencies.
        for kernel in (rng.normal(size=(*kernel_size, 2, 3)), np.ones((*kernel_size, 1, 1))):
            settings = (kernel, size, strides, padding, dilation, 1)
            exact = np.linalg.norm(convolutions.small_matrix(*settings), 2)
            with monkeypatch.context() as patched:
                patched.setattr(convolutions, "_SMALL_SIDE", 0)
                bound, _, method = convolutions.of_convolution(*settings)
            assert "circular" in method
            assert exact * (1 - 1e-12) <= bound <= np.abs(kernel).sum() * (1 + 1e-9)


def test_large_matrices_are_proven_by_the_factorization_alone(monkeypatch):
    rng = np.random.default_rng(0)
    for matrix in (
        rng.normal(size=(200, 150)),
        rng.normal(size=(150, 200)) + 1j * rng.normal(size=(150, 200)),
        np.diag(np.concatenate([[1.0], np.full(179, 1 - 1e-9)])),
    ):
        exact = scipy.linalg.svdvals(matrix).max()
        bound, smallest = spectral_norm.of_matrices(matrix)
        assert exact <= bound * (1 + 1e-15) and bound <= exact * (1 + 1e-8)
        assert smallest is None
        for factor in (0.0, 0.5, 1 - 1e-9):
            right = spectral_norm._largest_eigenvalue
            with monkeypatch.context() as patched:
                patched.setattr(
                    spectral_norm,
                    "_largest_eigenvalue",
                    lambda half, f=factor, r=right: f * r(half),
                )
                wrong, _ = spectral_norm.of_matrices(matrix)
            assert exact <= wrong * (1 + 1e-15) and wrong <= 4 * exact


def test_matrices_of_several_groups_are_all_below_the_bound():
    rng = np.random.default_rng(0)
    for size in (20, 150):
        groups = [s * rng.normal(size=(2, size, size)) for s in (1.0, 3.0, 2.0, 1e-3)]
        exact = max(np.linalg.norm(group, 2, axis=(-2, -1)).max() for group in groups)
        for order in (groups, groups[::-1]):
            assert exact <= spectral_norm.of_many(order)[0] <= exact * (1 + 1e-9)


ACTIVATIONS = ["relu", "tanh", "gelu", "elu", "softmax", "sigmoid"]


def _random_encoder(rng):
    """Returns an encoder of random layers, with weights of random scales."""
    size = int(rng.integers(4, 8))
    values = images = keras.Input((size, size, int(rng.integers(1, 4))))
    for _ in range(int(rng.integers(1, 5))):
        channels = int(rng.integers(1, 4)) * 2
        choices = [
            lambda x, c=channels: Layers.Conv2D(
                c,
                int(rng.integers(1, 4)),
                strides=int(rng.integers(1, 3)),
                padding="same",
                activation=str(rng.choice(["linear", *ACTIVATIONS])),
            )(x),
            lambda x: Layers.BatchNormalization()(x),
            lambda x: Layers.DepthwiseConv2D(2, padding="same")(x),
            lambda x, c=channels: Layers.SeparableConv2D(c, 2, padding="same")(x),
            lambda x: Layers.Rescaling(float(rng.normal()), 0.3)(x),
            lambda x, c=channels: layers.OrthogonalConv2D(c, 1)(x),
            lambda x, c=channels: layers.SDPLipschitzConv2D(c, 1)(x),
            lambda x, c=channels: layers.AlmostOrthogonalConv2D(c, 1)(x),
            lambda x: Layers.MaxPooling2D(2, strides=1, padding="same")(x),
            lambda x: Layers.AveragePooling2D(2, strides=1, padding="same")(x),
            lambda x: Layers.Concatenate()([x, Layers.Activation("tanh")(x)]),
            lambda x, c=channels: layers.ConvexResidual(
                keras.Sequential(
                    [keras.Input(x.shape[1:]), Layers.Conv2D(x.shape[-1], 2, padding="same")]
                )
            )(x),
        ]
        values = choices[int(rng.integers(len(choices)))](values)
    model = keras.Model(images, values)
    for weight in model.weights:
        drawn = rng.normal(size=weight.shape) * 10.0 ** rng.uniform(-1, 1)
        weight.assign(np.abs(drawn) if "variance" in weight.path else drawn)
    return model


def _largest_stretch(frozen, rng):
    """Returns the largest norm of finite-difference Jacobians at random images."""
    shape = frozen.inputs[0].shape[1:]
    size = int(np.prod(shape))
    largest = 0.0
    for scale in (1.0, 30.0):
        image = scale * rng.normal(size=shape)
        step = 1e-6 * scale
        moved = image + step * np.eye(size).reshape(size, *shape)
        difference = frozen(moved).numpy() - frozen(image[np.newaxis]).numpy()
        largest = max(largest, np.linalg.norm(difference.reshape(size, -1) / step, 2))
    return largest


@pytest.mark.slow
def test_bounds_of_fresh_random_encoders_are_above_what_they_stretch():
    seed = int(time.time_ns() % 2**32)
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    begin, encoders = time.monotonic(), 0
    while time.monotonic() - begin < 10:
        model = _random_encoder(rng)
        frozen = freeze_encoder(model)
        stretched = _largest_stretch(frozen, rng)
        # A finite difference of float64 values is off by some 1e-6 of them.
        assert stretched <= lipschitz_bound(model) * (1 + 1e-4) + 1e-6, (
            f"seed {seed}, encoder {encoders}: {lsrs_tf.lipschitz_report(model)}"
        )
        assert stretched <= lipschitz_bound(frozen) * (1 + 1e-4) + 1e-6
        encoders += 1
    assert encoders > 3
