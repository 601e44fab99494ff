"""What can only be seen on a GPU; skipped where there is none."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from lsrs_tf import layers, models
from lsrs_tf.sampling import random_streams
from lsrs_tf.sampling.noise import ExactNoise

pytestmark = pytest.mark.skipif(
    not tf.config.list_physical_devices("GPU"), reason="There is no GPU."
)


@pytest.fixture(params=[True, False], ids=["tf32", "float32"])
def tf32(request):
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(request.param)
    yield request.param
    tf.config.experimental.enable_tensor_float_32_execution(before)


def _product_error():
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(512, 512)).astype(np.float32) for _ in range(2))
    exact = left.astype(np.float64) @ right
    found = tf.matmul(left, right).numpy()
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def test_plain_products_are_rounded_to_tf32_where_it_is_allowed(tf32):
    # Otherwise the other tests of TF32 would show nothing.
    assert (_product_error() > 1e-4) == tf32


def _matrix_of(layer, shape, jit_compile):
    size = int(np.prod(shape))
    impulses = np.eye(size).reshape(size, *shape).astype(layer.compute_dtype)
    outputs = tf.function(layer, jit_compile=jit_compile)(impulses)
    return outputs.numpy().reshape(size, -1).astype(np.float64)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["plain", "xla"])
@pytest.mark.parametrize("parametrization", sorted(layers.PARAMETRIZATIONS))
def test_tf32_does_not_touch_convolutions(tf32, parametrization, jit_compile):
    shape = (6, 6, 8)
    layer, exact = (
        layers.convolution(parametrization)(8, 3, dtype=dtype) for dtype in ("float32", "float64")
    )
    for each in (layer, exact):
        each.build((None, *shape))
    exact.set_weights(layer.get_weights())
    matrix = _matrix_of(layer, shape, jit_compile)
    with tf.device("CPU:0"):
        expected = _matrix_of(exact, shape, False)
    # Where factors are rounded to TF32 the error is about 3e-4.
    assert np.abs(matrix - expected).max() < 5e-6
    if layer.orthogonal:
        values = np.linalg.svd(matrix, compute_uv=False)
        assert values.max() < 1 + 1e-5 and values.min() > 1 - 1e-5


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return models.resnet18(orthogonal_layers=9, width=8)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(6, 32, 32, 3)).astype(np.float32)


def test_frozen_encoders_are_those_of_the_processor(tf32, model, images):
    frozen = model.freeze_encoder()
    on_gpu = frozen(images, training=False).numpy()
    with tf.device("CPU:0"):
        on_cpu = frozen(images, training=False).numpy()
    assert on_gpu.dtype == np.float64
    report = lsrs_tf.lipschitz_report(frozen)
    # Each is as near to the encoder without rounding as the certificate assumes.
    assert np.abs(on_gpu - on_cpu).max() <= 2 * report.rounding_error
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-12)


def test_streams_are_those_of_the_processor(images):
    def integers_and_normals():
        stream = random_streams.stream(1, images[0], random_streams.ESTIMATION)
        high, low = random_streams.uniform_pairs(stream, 3, 5, 700)
        normals = random_streams.standard_normal(stream, 3, 5, (7, 100))
        return high.numpy(), low.numpy(), normals.numpy()

    on_gpu = integers_and_normals()
    with tf.device("CPU:0"):
        on_cpu = integers_and_normals()
    np.testing.assert_array_equal(on_gpu[0], on_cpu[0])
    np.testing.assert_array_equal(on_gpu[1], on_cpu[1])
    np.testing.assert_allclose(on_gpu[2], on_cpu[2], atol=2e-6)


def test_exact_noise_is_that_of_the_processor(images):
    noise = ExactNoise(0.25, (7, 100))

    def drawn():
        stream = random_streams.stream(1, images[0], random_streams.ESTIMATION)
        values, usable = noise.draw(stream, 0, 1_000)
        return values.numpy(), usable.numpy()

    values, usable = drawn()
    with tf.device("CPU:0"):
        other_values, other_usable = drawn()
    both = usable & other_usable
    assert both.mean() > 0.99
    np.testing.assert_array_equal(values[both], other_values[both])


@pytest.mark.parametrize("noise", ["float32", "exact"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"method": "sequential", "target_radii": 0.1}, {"images_per_draw": 4}],
    ids=["fixed", "sequential", "shared"],
)
def test_certificates_are_the_same_again_and_alone(model, images, noise, settings):
    def certified(images):
        return lsrs_tf.certify(model, images, n=2_000, noise=noise, verbose=0, **settings)

    together, again = certified(images), certified(images)
    for name in ("labels", "radii", "counts"):
        np.testing.assert_array_equal(getattr(together, name), getattr(again, name))
    alone = certified(images[2:3])
    assert alone.labels[0] == together.labels[2]
    assert alone.radii[0] == together.radii[2]


def test_counts_are_almost_those_of_the_processor(model, images):
    on_gpu = lsrs_tf.certify(model, images, n=4_000, verbose=0).counts
    with tf.device("CPU:0"):
        processor = lsrs_tf.Certifier(model, n=4_000, jit_compile=False)
        on_cpu = np.stack([processor.certify(image).counts for image in images])
    assert np.abs(on_gpu - on_cpu).max() <= 40


def test_training_moves_every_weight_and_keeps_the_constant(tf32, images):
    model = models.resnet18(orthogonal_layers=5, width=8)
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    before = [weight.numpy() for weight in model.trainable_weights]
    history = model.fit(images, np.arange(6) % 10, epochs=8, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    for weight, value in zip(model.trainable_weights, before, strict=True):
        assert np.any(weight.numpy() != value), weight.path
    assert lsrs_tf.lipschitz_report(model.freeze_encoder()).bound < 1 + 1e-6
