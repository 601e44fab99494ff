"""The claimed rounding error of encoders against evaluations with hundreds of digits."""

import time

import keras
import mpmath
import numpy as np
import pytest

import lsrs_tf
from lsrs_tf import layers, models
from lsrs_tf.lipschitz.registry import bound_of
from lsrs_tf.lipschitz.rules import activations
from lsrs_tf.models.freezing import freeze_encoder
from lsrs_tf.numerics.fourier import _waves
from tests.precise import Longdouble, Mpmath, evaluate

Layers = keras.layers
SHAPE = (4, 4, 2)


def _claim_and_error(encoder, images, numbers):
    """Returns the claim, and the largest error over some images, as floats."""
    frozen = freeze_encoder(encoder)
    claim = lsrs_tf.lipschitz_report(frozen).rounding_error
    computed = numbers.array(frozen(images).numpy())
    exact = evaluate(frozen, numbers.array(images), numbers)
    squares = ((computed - exact) ** 2).reshape(len(images), -1).sum(axis=1)
    return claim, max(float(mpmath.sqrt(mpmath.mpf(str(square)))) for square in squares)


def _images(shape, rng, count=3):
    images = rng.uniform(size=(count, *shape)).astype(np.float32)
    neighbour = images[:1].copy()
    neighbour.flat[0] = np.nextafter(neighbour.flat[0], np.float32(2))
    special = np.stack([np.zeros(shape), np.ones(shape), np.full(shape, 0.25)]).astype(np.float32)
    return np.concatenate([images, neighbour, special])


KINDS = {
    "dense": lambda: [Layers.Flatten(), Layers.Dense(3)],
    "dense relu": lambda: [Layers.Flatten(), Layers.Dense(5, activation="relu"), Layers.Dense(2)],
    "dense softmax": lambda: [Layers.Flatten(), Layers.Dense(3, activation="softmax")],
    "dense tanh": lambda: [Layers.Flatten(), Layers.Dense(3, activation="tanh"), Layers.Dense(2)],
    "convolution": lambda: [Layers.Conv2D(3, 3, padding="same", activation="relu")],
    "two convolutions": lambda: [Layers.Conv2D(3, 2, strides=2), Layers.Conv2D(2, 1)],
    "normalization": lambda: [Layers.Conv2D(3, 3), Layers.BatchNormalization(), Layers.ReLU()],
    "pooling": lambda: [Layers.BatchNormalization(), Layers.GlobalAveragePooling2D()],
    "orthogonal": lambda: [layers.OrthogonalConv2D(4, 3), layers.GroupSort()],
    "orthogonal strided": lambda: [layers.OrthogonalConv2D(3, 2, strides=2)],
    "sll": lambda: [layers.SDPLipschitzConv2D(3, 2), layers.SDPLipschitzConv2D(2, 1)],
    "sll inside": lambda: [layers.SDPLipschitzConv2D(3, 2, hidden_filters=5)],
    "sll dense": lambda: [
        Layers.Flatten(),
        layers.SDPLipschitzDense(40, hidden_units=5),
        layers.SDPLipschitzDense(3),
    ],
    "spectral": lambda: [layers.SpectralNormalizedConv2D(3, 2), layers.GroupSort(3)],
    "bjorck": lambda: [layers.BjorckConv2D(3, 3), layers.BjorckConv2D(2, 1)],
    "matrices": lambda: [
        Layers.Flatten(),
        layers.SpectralDense(6),
        layers.BjorckDense(4),
        layers.ExponentialDense(5),
    ],
    "residual": lambda: [
        layers.ConvexResidual(
            keras.Sequential([keras.Input(SHAPE), Layers.Conv2D(2, 3, padding="same")])
        )
    ],
    "orthogonal dense": lambda: [Layers.Flatten(), layers.OrthogonalDense(5)],
    "scales": lambda: [Layers.Rescaling(1e8, -1e8), Layers.Rescaling(1e-8, 3.0)],
}


def _built(kind):
    return keras.Sequential([keras.Input(SHAPE), *KINDS[kind]()])


def _set_hostile_weights(encoder, rng):
    """Gives every weight a scale of its own, and biases that are large and cancel."""
    for weight in encoder.weights:
        values = rng.normal(size=weight.shape)
        scale = 10.0 ** rng.choice([-30, -9, -3, 0, 0, 0, 3, 9, 17, 30])
        if "bias" in weight.path or "mean" in weight.path or "beta" in weight.path:
            # All alike, or in pairs of opposite sign: they cancel in the layer that follows.
            values = np.sign(values) if rng.random() < 0.5 else np.ones(weight.shape)
        if "gain" in weight.path or "logit" in weight.path or "log_q" in weight.path:
            scale = 1.0
        if "variance" in weight.path:
            values = np.abs(values)
        weight.assign(np.asarray(scale * values, np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_claim_is_above_the_error_for_hostile_weights(kind):
    rng = np.random.default_rng(sum(map(ord, kind)))
    encoder = _built(kind)
    images = _images(SHAPE, rng, count=1)
    with mpmath.workdps(150):
        for _ in range(6):
            _set_hostile_weights(encoder, rng)
            claim, error = _claim_and_error(encoder, images, Mpmath)
            assert error <= claim


@pytest.mark.slow
def test_claim_is_above_the_error_of_fresh_random_encoders():
    seed = int(time.time_ns() % 2**32)
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    begin, encoders = time.monotonic(), 0
    with mpmath.workdps(150):
        while time.monotonic() - begin < 8:
            encoder = _built(str(rng.choice(list(KINDS))))
            _set_hostile_weights(encoder, rng)
            claim, error = _claim_and_error(encoder, _images(SHAPE, rng, count=1), Mpmath)
            assert error <= claim, f"seed {seed}, encoder {encoders}"
            encoders += 1
    assert encoders > 5


@pytest.mark.parametrize("bias", [1e8, 1e10, 1e17])
def test_claim_follows_constants_that_cancel_inside_a_softmax(bias):
    encoder = keras.Sequential(
        [keras.Input((2, 2, 1)), Layers.Flatten(), Layers.Dense(2, activation="softmax")]
    )
    kernel = np.zeros((4, 2))
    kernel[0, 0] = 16
    encoder.layers[1].set_weights([kernel, np.full(2, bias)])
    images = np.full((2, 2, 2, 1), 0.25, np.float32)
    images[:, 0, 0, 0] = 0.5, np.nextafter(np.float32(0.5), np.float32(1))
    with mpmath.workdps(60):
        claim, error = _claim_and_error(encoder, images, Mpmath)
    assert error <= claim
    assert claim <= 1_000 * max(error, 1e-16 * bias)


def test_numbers_that_are_taken_for_zero_are_counted():
    # The product of two small matrices is below what a processor holds; the others enlarge it.
    encoder = keras.Sequential([keras.Input((2,)), *(Layers.Dense(2) for _ in range(4))])
    frozen = freeze_encoder(encoder)
    for layer, scale in zip(
        [layer for layer in frozen.layers if layer.weights],
        [1e-170, 1e-170, 1e140, 1e140],
        strict=True,
    ):
        layer.kernel.assign(scale * np.eye(2))
    image = np.ones((1, 2), np.float32)
    with mpmath.workdps(400):
        exact = evaluate(frozen, Mpmath.array(image), Mpmath)
        error = float(abs(exact - Mpmath.array(frozen(image).numpy())).max())
    assert error <= lsrs_tf.lipschitz_report(frozen).rounding_error


def test_values_that_overflow_have_no_claim():
    encoder = keras.Sequential([keras.Input((2,)), *(Layers.Dense(2) for _ in range(5))])
    for layer in encoder.layers:
        layer.kernel.assign(1e35 * np.eye(2))
    assert lsrs_tf.lipschitz_report(freeze_encoder(encoder)).rounding_error == np.inf


@pytest.mark.parametrize("terms", [25_088, 50_176])
def test_long_sums_are_counted_by_their_length(terms):
    encoder = keras.Sequential([keras.Input((terms,)), Layers.Dense(1, use_bias=False)])
    # All terms but the last are lost in the sum where it is made from left to right.
    kernel = np.full((terms, 1), 1e-12)
    kernel[0] = 1e5
    encoder.layers[0].set_weights([kernel])
    images = np.ones((1, terms), np.float32)
    claim, error = _claim_and_error(encoder, images, Longdouble)
    assert error <= claim
    longer = keras.Sequential([keras.Input((2 * terms,)), Layers.Dense(1, use_bias=False)])
    longer.layers[0].set_weights([np.concatenate([kernel, kernel])])
    assert lsrs_tf.lipschitz_report(freeze_encoder(longer)).rounding_error > 2 * claim


def test_mean_of_many_pixels_is_counted():
    encoder = keras.Sequential([keras.Input((224, 224, 1)), Layers.GlobalAveragePooling2D()])
    images = np.random.default_rng(0).uniform(size=(2, 224, 224, 1)).astype(np.float32)
    claim, error = _claim_and_error(encoder, images, Longdouble)
    assert error <= claim <= 1e-10


@pytest.mark.parametrize("name", sorted(activations.CONSTANTS))
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 30.0, 1e6])
def test_activation_is_evaluated_as_accurately_as_its_claim_says(name, scale):
    layer = Layers.Activation(name, dtype="float64")
    values = scale * np.random.default_rng(0).normal(size=(4, 32))
    computed = layer(values).numpy()
    with mpmath.workdps(60):
        exact = np.array(
            [[float(v) for v in row] for row in _exact_activation(name, values)], np.float64
        )
    evaluation = activations.evaluation_of_function(layer.activation, layer, (None, 32))
    size = np.linalg.norm(values, axis=1)
    error = np.linalg.norm(computed - exact, axis=1)
    # The oracle's own rounding to float64 is allowed for.
    own = 2**-53 * np.linalg.norm(exact, axis=1)
    assert np.all(error <= evaluation.relative * size + evaluation.absolute + own)
    assert np.all(
        np.linalg.norm(computed, axis=1) <= (evaluation.lipschitz * size + evaluation.offset) * 1.01
    )


@pytest.mark.parametrize("size", [1e3, 1e6, 1e9, 1e12])
def test_softmax_over_several_axes_is_rounded_by_the_size_of_its_input(size):
    layer = Layers.Softmax(axis=[1, 2], dtype="float64")
    values = np.array([[[size, size], [size - 0.3, size - 0.7]]])
    computed = layer(values).numpy()[0].ravel()
    with mpmath.workdps(60):
        powers = [mpmath.exp(mpmath.mpf(float(v)) - size) for v in values.ravel()]
        exact = np.array([float(power / sum(powers)) for power in powers])
    evaluation = bound_of(layer, (None, 2, 2)).evaluation
    claim = evaluation.relative * np.linalg.norm(values) + evaluation.absolute
    assert np.linalg.norm(computed - exact) <= claim + 2**-53


def _exact_activation(name, values):
    exact = np.array([[mpmath.mpf(float(v)) for v in row] for row in values], object)
    if name == "softmax":
        powers = np.array([[mpmath.exp(v) for v in row] for row in exact], object)
        return powers / powers.sum(axis=1, keepdims=True)
    return [[_FUNCTIONS[name](v) for v in row] for row in exact]


def _sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def _softplus(x):
    return mpmath.log1p(mpmath.exp(-abs(x))) + max(x, 0)


_FUNCTIONS = {
    "celu": lambda x: x if x > 0 else mpmath.expm1(x),
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    # TensorFlow has the inverse root of 2 in float32, and so has the function that is bounded.
    "gelu": lambda x: x * mpmath.erfc(-x * mpmath.mpf(float(np.float32(0.5**0.5)))) / 2,
    "hard_sigmoid": lambda x: min(max(x / 6 + mpmath.mpf(1) / 2, 0), 1),
    "hard_silu": lambda x: x * min(max(x / 6 + mpmath.mpf(1) / 2, 0), 1),
    "hard_tanh": lambda x: min(max(x, -1), 1),
    "leaky_relu": lambda x: x if x > 0 else x * mpmath.mpf(float(np.float32(0.2))),
    "linear": lambda x: x,
    "log_sigmoid": lambda x: -_softplus(-x),
    "mish": lambda x: x * mpmath.tanh(_softplus(x)),
    "relu": lambda x: max(x, 0),
    "relu6": lambda x: min(max(x, 0), 6),
    "selu": lambda x: (
        mpmath.mpf("1.0507009873554804934")
        * (x if x > 0 else mpmath.mpf("1.6732632423543772848") * mpmath.expm1(x))
    ),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "soft_shrink": lambda x: x - mpmath.sign(x) / 2 if abs(x) > 0.5 else mpmath.mpf(0),
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + abs(x)),
    "squareplus": lambda x: (x + mpmath.sqrt(x * x + 4)) / 2,
    "tanh": mpmath.tanh,
    "tanh_shrink": lambda x: x - mpmath.tanh(x),
}


@pytest.mark.parametrize(
    ("encoder", "most"),
    [
        (models.resnet18(orthogonal_layers=9, width=16).encoder, 5_000),
        (models.resnet18(orthogonal_layers=5, width=8, input_shape=(16, 16, 3)).encoder, 2_000),
        (models.convnet(width=16).encoder, 2_000),
    ],
    ids=["resnet 9/18", "resnet 5/18", "convnet"],
)
def test_claim_is_near_the_error_of_ordinary_networks(encoder, most):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(2, *encoder.input_shape[1:])).astype(np.float32)
    claim, error = _claim_and_error(encoder, images, Longdouble)
    assert error <= claim <= most * error
    assert claim < 1e-10


def test_waves_are_as_accurate_as_the_bounds_of_rounding_assume():
    for size in (*range(1, 34), 112, 224, 225):
        cosines, sines = _waves(size, size)
        for turn in range(size):
            exact = (
                mpmath.cospi(mpmath.mpf(2 * turn) / size),
                mpmath.sinpi(2 * mpmath.mpf(turn) / size),
            )
            for computed, expected in zip(
                (cosines[1 % size, turn], sines[1 % size, turn]), exact, strict=True
            ):
                if size > 1:
                    assert abs(mpmath.mpf(float(computed)) - expected) < 4 * 2.0**-53
