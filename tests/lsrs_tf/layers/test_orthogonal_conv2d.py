import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf.layers import OrthogonalConv2D
from tests.oracles import singular_values

# (height, width, channels), filters, kernel size, strides
SHAPES = [
    ((6, 6, 2), 2, 3, 1),
    ((5, 5, 2), 2, 3, 1),
    ((6, 5, 2), 2, 3, 1),
    ((5, 8, 2), 2, 3, 1),
    ((6, 6, 2), 5, 3, 1),
    ((5, 7, 5), 2, 3, 1),
    ((6, 6, 3), 3, 1, 1),
    ((6, 6, 3), 3, 2, 1),
    ((5, 6, 2), 3, (4, 5), 1),
    ((7, 7, 2), 2, 7, 1),
    ((8, 6, 2), 4, 3, 2),
    ((8, 6, 2), 8, 3, 2),
    ((8, 6, 1), 6, 2, 2),
    ((4, 9, 2), 3, 1, (2, 3)),
]


def _trained(layer, shape, steps=25):
    images = keras.random.normal((8, *shape))
    target = keras.random.normal(layer(images).shape)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((layer(images) - target) ** 2)
        optimizer.apply(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights)
    return layer


@pytest.mark.parametrize(("shape", "filters", "kernel_size", "strides"), SHAPES)
def test_singular_values_are_one_after_training(shape, filters, kernel_size, strides):
    layer = OrthogonalConv2D(filters, kernel_size, strides=strides)
    before = singular_values(layer, shape)
    kernel = np.array(_kernel_of(layer))
    _trained(layer, shape)
    values = singular_values(layer, shape)
    assert np.abs(_kernel_of(layer) - kernel).max() > 1e-3, "training did nothing"
    for found in (before, values):
        # With fewer outputs than inputs this is a projection: as many ones as there are outputs.
        np.testing.assert_allclose(found, 1, atol=2e-6)


def _kernel_of(layer):
    return keras.ops.convert_to_numpy(layer.kernel)


def test_every_weight_is_trained():
    layer = OrthogonalConv2D(4, 3)
    images = keras.random.normal((2, 6, 6, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images) ** 3)
    gradients = tape.gradient(loss, layer.trainable_weights)
    assert [weight.name for weight in layer.trainable_weights] == ["kernel", "gain", "bias"]
    for gradient in gradients:
        assert np.abs(gradient).max() > 1e-4


def test_gain_is_in_the_optimizer_of_a_model():
    model = keras.Sequential([keras.Input((4, 4, 2)), OrthogonalConv2D(2, 3)])
    model.compile("sgd", "mse")
    before = float(model.layers[0].gain)
    model.fit(keras.random.normal((8, 4, 4, 2)), keras.random.normal((8, 4, 4, 2)), verbose=0)
    assert float(model.layers[0].gain) != before


def test_size_of_the_kernel_does_not_matter_but_the_gain_does():
    layer = OrthogonalConv2D(3, 3)
    images = keras.random.normal((1, 4, 4, 3))
    before = layer(images).numpy()
    layer.kernel.assign(1000 * layer.kernel)
    np.testing.assert_allclose(layer(images), before, atol=1e-5)
    layer.gain.assign(2 * layer.gain)
    assert np.abs(layer(images).numpy() - before).max() > 0.01


def test_zero_kernel_is_still_orthogonal():
    layer = OrthogonalConv2D(3, 3, kernel_initializer="zeros")
    np.testing.assert_allclose(singular_values(layer, (4, 4, 3)), 1, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float64"])
def test_transform_keeps_its_precision_under_every_policy(policy):
    layer = OrthogonalConv2D(3, 3, dtype=policy)
    images = keras.random.normal((2, 6, 6, 3))
    outputs = layer(images)
    assert outputs.dtype == layer.compute_dtype
    precision = "float64" if policy == "float64" else "float32"
    stacked = layer.stacked_spectrum(precision).numpy().astype(np.float64)
    matrices = stacked[..., :3, :] + 1j * stacked[..., 3:, :]
    np.testing.assert_allclose(np.linalg.svd(matrices, compute_uv=False), 1, atol=2e-6)


def test_shift_of_the_image_shifts_the_output():
    layer = OrthogonalConv2D(3, 3)
    images = keras.random.normal((1, 5, 6, 2))
    shifted = layer(np.roll(images, (2, 3), axis=(1, 2)))
    np.testing.assert_allclose(shifted, np.roll(layer(images), (2, 3), axis=(1, 2)), atol=1e-5)


def test_compiles_with_xla():
    layer = OrthogonalConv2D(3, 3)
    images = keras.random.normal((2, 5, 6, 2))

    def loss_and_gradient():
        with tf.GradientTape() as tape:
            outputs = layer(images)
            loss = tf.reduce_sum(outputs**3)
        return outputs, tape.gradient(loss, layer.trainable_weights)

    layer(images)
    plain, plain_gradients = loss_and_gradient()
    compiled, compiled_gradients = tf.function(loss_and_gradient, jit_compile=True)()
    np.testing.assert_allclose(compiled, plain, atol=1e-5)
    for left, right in zip(compiled_gradients, plain_gradients, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-3, rtol=1e-4)


def test_config_and_file_round_trip(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            OrthogonalConv2D(4, (3, 2), strides=2, use_bias=False, kernel_regularizer="l2"),
        ]
    )
    layer = model.layers[0]
    copy = OrthogonalConv2D.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    model.save(tmp_path / "model.keras")
    images = keras.random.normal((2, 6, 6, 2))
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))


def test_output_shape():
    layer = OrthogonalConv2D(5, 3, strides=2)
    assert layer.compute_output_shape((None, 8, 6, 3)) == (None, 4, 3, 5)
    assert layer(np.zeros((7, 8, 6, 3), np.float32)).shape == (7, 4, 3, 5)


@pytest.mark.parametrize(
    ("arguments", "input_shape", "message"),
    [
        ({"filters": 0, "kernel_size": 3}, None, "filters"),
        ({"filters": 2.5, "kernel_size": 3}, None, "filters"),
        ({"filters": 2, "kernel_size": (3, 3, 3)}, None, "kernel_size"),
        ({"filters": 2, "kernel_size": 3, "strides": 0}, None, "strides"),
        ({"filters": 2, "kernel_size": 5}, (None, 4, 8, 3), "no larger than the image"),
        ({"filters": 2, "kernel_size": 3, "strides": 2}, (None, 4, 8, 3), "no larger"),
        ({"filters": 2, "kernel_size": 1, "strides": 2}, (None, 5, 8, 3), "divide"),
        ({"filters": 2, "kernel_size": 1}, (None, None, 8, 3), "known height"),
        ({"filters": 2, "kernel_size": 1}, (None, 8, 3), "known height"),
    ],
)
def test_bad_arguments_are_named(arguments, input_shape, message):
    with pytest.raises(ValueError, match=message):
        OrthogonalConv2D(**arguments).build(input_shape)
