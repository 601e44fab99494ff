"""The tests that every convolution of `layers.PARAMETRIZATIONS` has to pass."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, lipschitz_bound
from lsrs_tf.models.freezing import freeze_encoder
from tests.oracles import singular_values
from tests.training import trained

NAMES = list(layers.PARAMETRIZATIONS)
ORTHOGONAL = [name for name in NAMES if layers.convolution(name).orthogonal]
CONTRACTING = ["aol", "bjorck", "spectral"]
LINEAR = [name for name in NAMES if name != "sll"]

# (height, width, channels), filters, kernel size, strides
SHAPES = [
    ((6, 6, 2), 2, 3, 1),
    ((5, 5, 2), 2, 3, 1),
    ((6, 5, 2), 3, 3, 1),
    ((5, 7, 5), 2, 4, 1),
    ((6, 6, 2), 5, 5, 1),
    ((6, 6, 3), 3, 1, 1),
    ((5, 6, 2), 3, (2, 6), 1),
    ((7, 7, 2), 2, 7, 1),
    ((8, 6, 2), 4, 3, 2),
    ((8, 6, 2), 8, 3, 2),
    ((8, 6, 2), 8, 1, 2),
    ((4, 9, 2), 3, 1, (2, 3)),
]

WEIGHTS = {
    "cayley": {"kernel": (3, 3, 3, 4), "gain": (), "bias": (4,)},
    "scfac": {
        "kernel": (3, 4),
        "height_kernel": (2, 4, 2),
        "width_kernel": (2, 3, 1),
        "bias": (4,),
    },
    "soc": {"kernel": (3, 3, 4, 4), "gain": (), "bias": (4,)},
    "bro": {"kernel": (3, 3, 1, 4), "bias": (4,)},
    "aol": {"kernel": (3, 3, 3, 4), "bias": (4,)},
    "sll": {"kernel": (3, 3, 4, 4), "log_q": (4,), "bias": (4,)},
    "bjorck": {"kernel": (3, 3, 3, 4), "bias": (4,)},
    "spectral": {"kernel": (3, 3, 3, 4), "bias": (4,)},
}


def _layer(parametrization, filters=4, kernel_size=3, **arguments):
    return layers.convolution(parametrization)(filters, kernel_size, **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_declares_what_it_is(name):
    assert layers.convolution(name).orthogonal == (name not in (*CONTRACTING, "sll"))


def test_unknown_name_is_refused():
    for name in ("orthogonal", ["soc"], None):
        with pytest.raises(ValueError, match="cayley, scfac, soc, bro, aol, sll, bjorck, spectral"):
            layers.convolution(name)


@pytest.mark.parametrize("name", NAMES)
def test_has_its_weights_and_trains_all_of_them(name):
    layer = _layer(name)
    images = keras.random.normal((2, 6, 6, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images) ** 3)
    gradients = tape.gradient(loss, layer.trainable_weights)
    assert {weight.name: tuple(weight.shape) for weight in layer.weights} == WEIGHTS[name]
    assert len(layer.trainable_weights) == len(layer.weights)
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.name
        assert np.abs(gradient).max() > 1e-4, weight.name


@pytest.mark.parametrize("name", ORTHOGONAL)
@pytest.mark.parametrize(("shape", "filters", "kernel_size", "strides"), SHAPES)
def test_singular_values_are_one_after_training(name, shape, filters, kernel_size, strides):
    layer = trained(_layer(name, filters, kernel_size, strides=strides), shape)
    # With fewer outputs than inputs there are as many ones as outputs.
    np.testing.assert_allclose(singular_values(layer, shape), 1, atol=2e-6)
    frozen = freeze_encoder(layer)
    values = singular_values(frozen, shape)
    np.testing.assert_allclose(values, 1, atol=1e-12)
    for bound in (lipschitz_bound(layer), lipschitz_bound(frozen)):
        assert values.max() <= bound * (1 + 1e-14) and bound <= 1 + 1e-9


@pytest.mark.parametrize("name", CONTRACTING)
@pytest.mark.parametrize(("shape", "filters", "kernel_size", "strides"), SHAPES)
def test_contracting_layer_stays_below_its_bound(
    name, shape, filters, kernel_size, strides, monkeypatch
):
    layer = _layer(name, filters, kernel_size, strides=strides)
    with monkeypatch.context() as patch:
        _shorten_iterations(patch)
        trained(layer, shape)
    assert singular_values(layer, shape).max() <= 1 + 2e-6
    frozen = freeze_encoder(layer)
    exact = singular_values(frozen, shape).max()
    for bound in (lipschitz_bound(layer), lipschitz_bound(frozen)):
        assert exact * (1 - 1e-14) <= bound <= exact + 1e-9
    assert bound <= 1 + 1e-12


@pytest.mark.parametrize(("shape", "filters", "kernel_size", "strides"), SHAPES)
def test_sdp_lipschitz_layer_moves_no_two_images_apart(shape, filters, kernel_size, strides):
    layer = trained(_layer("sll", filters, kernel_size, strides=strides), shape)
    frozen = freeze_encoder(layer)
    rng = np.random.default_rng(0)
    left, step = rng.normal(size=(2, 64, *shape))
    right = left + step * 10.0 ** -rng.integers(0, 6, size=(64, 1, 1, 1))
    moved = (frozen(left) - frozen(right)).numpy().reshape(64, -1)
    distance = (left - right).reshape(64, -1)
    bound = lipschitz_bound(layer)
    ratio = np.linalg.norm(moved, axis=1) / np.linalg.norm(distance, axis=1)
    assert ratio.max() <= bound * (1 + 1e-8)
    assert 1 <= bound <= 1 + 1e-9


@pytest.mark.parametrize("name", ORTHOGONAL)
@pytest.mark.parametrize("filters", [3, 6])
def test_norms_are_kept(name, filters):
    layer = _layer(name, filters, use_bias=False)
    images = keras.random.normal((5, 7, 6, 3))
    norms = np.linalg.norm(layer(images).numpy().reshape(5, -1), axis=1)
    np.testing.assert_allclose(norms, np.linalg.norm(images.numpy().reshape(5, -1), axis=1), 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_all_ways_to_run_agree(name):
    layer = _layer(name, strides=2)
    images = keras.random.normal((2, 6, 10, 3))
    eager = layer(images)
    np.testing.assert_allclose(tf.function(layer)(images), eager, atol=2e-6)
    np.testing.assert_allclose(freeze_encoder(layer)(images), eager, atol=5e-6)
    np.testing.assert_allclose(_compiled(layer)(images), eager, atol=5e-6)


def _compiled(function):
    return tf.function(function, jit_compile=True)


def _shorten_iterations(patch):
    """Leaves few steps of Björck's iteration: they are alike, and each of them is in a graph."""
    patch.setattr("lsrs_tf.layers.bjorck_conv2d.ITERATIONS", 3)


@pytest.fixture
def few_iterations(monkeypatch):
    _shorten_iterations(monkeypatch)


@pytest.mark.parametrize("name", NAMES)
def test_training_compiles_with_xla(name, few_iterations):
    layer = _layer(name)
    images = keras.random.normal((2, 5, 6, 3))
    layer(images)

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(images) ** 3)
        return tape.gradient(loss, layer.trainable_weights)

    for left, right in zip(_compiled(gradients)(), gradients(), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_large_spectra_are_evaluated_by_columns(name, few_iterations, monkeypatch):
    layer = _layer(name, 5)
    images = keras.random.normal((2, 6, 5, 3))

    def outputs_and_gradients():
        with tf.GradientTape() as tape:
            outputs = layer(images)
            loss = tf.reduce_sum(outputs**3)
        return outputs, *tape.gradient(loss, layer.trainable_weights)

    layer(images)
    expected = outputs_and_gradients()
    bound = lipschitz_bound(layer)
    monkeypatch.setattr("lsrs_tf.layers.lipschitz_conv2d.SPECTRUM_LIMIT", 0)
    for found in (tf.function(outputs_and_gradients)(), _compiled(outputs_and_gradients)()):
        for left, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(left, right, atol=1e-4, rtol=1e-4)
    frozen = freeze_encoder(layer)
    assert not any(isinstance(part, layers.SpectralConv2D) for part in frozen.layers)
    np.testing.assert_allclose(frozen(images), expected[0], atol=5e-6)
    assert lipschitz_bound(frozen) == pytest.approx(bound, abs=1e-12)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_transform_keeps_its_precision_under_every_policy(name, policy):
    layer = _layer(name, 3, dtype=policy)
    images = keras.random.normal((2, 6, 6, 3))
    outputs = layer(images)
    assert outputs.dtype == layer.compute_dtype
    double = freeze_encoder(layer)(images).numpy()
    # What the policy rounds is the input and the output, nothing between.
    rounded = freeze_encoder(layer)(tf.cast(images, layer.compute_dtype)).numpy()
    error = np.abs(tf.cast(outputs, tf.float64).numpy() - rounded).max()
    last_place = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float64": 1e-15}[layer.compute_dtype]
    assert error <= 1.01 * last_place * np.abs(double).max() + 5e-6 * (policy != "float64")


@pytest.mark.parametrize("name", NAMES)
def test_config_and_file_round_trip(name, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            _layer(name, 4, (3, 2), strides=2, use_bias=False, kernel_regularizer="l2"),
        ]
    )
    layer = model.layers[0]
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert not any(weight.name == "bias" for weight in layer.weights)
    model.save(tmp_path / "model.keras")
    images = keras.random.normal((2, 6, 6, 2))
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize("name", NAMES)
def test_trains_with_plain_compile_and_fit(name):
    model = keras.Sequential([keras.Input((4, 4, 2)), _layer(name), layers.GroupSort()])
    model.compile("sgd", "mse")
    before = [weight.numpy() for weight in model.trainable_weights]
    model.fit(keras.random.normal((8, 4, 4, 2)), keras.random.normal((8, 4, 4, 4)), verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.abs(weight.numpy() - old).max() > 0, weight.path


@pytest.mark.parametrize("name", NAMES)
def test_output_shape(name):
    layer = _layer(name, 5, strides=2)
    assert layer.compute_output_shape((None, 8, 6, 3)) == (None, 4, 3, 5)
    assert layer(np.zeros((7, 8, 6, 3), np.float32)).shape == (7, 4, 3, 5)


@pytest.mark.parametrize("name", LINEAR)
def test_shift_of_the_image_shifts_the_output(name):
    layer = _layer(name)
    images = keras.random.normal((1, 5, 6, 2))
    shifted = layer(np.roll(images, (2, 3), axis=(1, 2)))
    np.testing.assert_allclose(shifted, np.roll(layer(images), (2, 3), axis=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_zero_weights_make_no_trouble(name):
    layer = _layer(name, kernel_initializer="zeros")
    images = keras.random.normal((1, 4, 4, 4))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images) ** 2)
    for gradient in tape.gradient(loss, layer.trainable_weights):
        assert np.all(np.isfinite(gradient))
    assert 0 <= lipschitz_bound(layer) <= 1 + 1e-9


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(name, value):
    layer = _layer(name, name="culprit")
    layer.build((None, 4, 4, 3))
    kernel = layer.kernel.numpy()
    kernel.flat[0] = value
    layer.kernel.assign(kernel)
    with pytest.raises(ValueError, match="culprit"):
        lipschitz_bound(layer)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("arguments", "input_shape", "message"),
    [
        ({"filters": 0, "kernel_size": 3}, None, "filters"),
        ({"filters": 2.5, "kernel_size": 3}, None, "filters"),
        ({"filters": 2, "kernel_size": (3, 3, 3)}, None, "kernel_size"),
        ({"filters": None, "kernel_size": 3}, None, "filters"),
        ({"filters": "two", "kernel_size": 3}, None, "filters"),
        ({"filters": float("nan"), "kernel_size": 3}, None, "filters"),
        ({"filters": 2, "kernel_size": 3, "strides": 0}, None, "strides"),
        ({"filters": 2, "kernel_size": 3, "padding": "same"}, None, "padding is circular"),
        ({"filters": 2, "kernel_size": 3, "activation": "relu"}, None, "GroupSort"),
        ({"filters": 2, "kernel_size": 5}, (None, 4, 8, 3), "no larger than the image"),
        ({"filters": 2, "kernel_size": 3, "strides": 2}, (None, 4, 8, 3), "no larger"),
        ({"filters": 2, "kernel_size": 1, "strides": 2}, (None, 5, 8, 3), "strides that divide"),
        ({"filters": 2, "kernel_size": 1, "name": "culprit"}, (None, None, 8, 3), "culprit.*known"),
        ({"filters": 2, "kernel_size": 1}, (None, 8, 3), "known height"),
    ],
)
def test_bad_arguments_are_named(name, arguments, input_shape, message):
    with pytest.raises(ValueError, match=message):
        layers.convolution(name)(**arguments).build(input_shape)
