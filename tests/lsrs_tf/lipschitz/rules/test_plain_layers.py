import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import lipschitz_bound
from lsrs_tf.models.freezing import freeze_encoder
from tests.oracles import jacobian

Layers = keras.layers

# Layers that are linear, and the shape of their inputs; whether the bound is the constant itself.
LINEAR = [
    (lambda: Layers.Dense(3), (5,), True),
    (lambda: Layers.Dense(6), (2, 3), True),
    (lambda: Layers.Conv1D(3, 3), (7, 2), True),
    (lambda: Layers.Conv1D(3, 4, strides=2, padding="same"), (9, 2), True),
    (lambda: Layers.Conv1D(3, 3, padding="causal", dilation_rate=2), (9, 2), False),
    (lambda: Layers.Conv2D(3, 3), (5, 6, 2), True),
    (lambda: Layers.Conv2D(3, 3, padding="same"), (5, 6, 2), True),
    (lambda: Layers.Conv2D(2, (2, 4), strides=(2, 3), padding="same"), (5, 7, 3), True),
    (lambda: Layers.Conv2D(2, 3, strides=2), (8, 7, 2), True),
    (lambda: Layers.Conv2D(2, 2, strides=3, padding="same"), (7, 8, 2), True),
    (lambda: Layers.Conv2D(2, 2, dilation_rate=(2, 3), padding="same"), (6, 7, 2), True),
    (lambda: Layers.Conv2D(6, 3, groups=2, padding="same"), (4, 5, 4), True),
    (lambda: Layers.DepthwiseConv1D(3, depth_multiplier=2), (7, 2), True),
    (lambda: Layers.DepthwiseConv2D(3, padding="same"), (5, 6, 3), True),
    (lambda: Layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2), (6, 7, 2), True),
    (lambda: Layers.SeparableConv1D(3, 3), (7, 2), False),
    (lambda: Layers.SeparableConv2D(3, 3, padding="same"), (5, 4, 2), False),
    (lambda: Layers.BatchNormalization(), (3, 4), True),
    (lambda: Layers.BatchNormalization(scale=False, axis=1), (3, 4), True),
    # Keras rounds these to float32, one upwards and one downwards in size.
    (lambda: Layers.Rescaling(1 / 255, -0.5), (3, 4), False),
    (lambda: Layers.Rescaling(-0.7, 0.5), (3, 4), False),
    (lambda: Layers.Rescaling([0.5, -2.0], [1.0, 2.0]), (3, 2), True),
    (lambda: Layers.AveragePooling1D(3, strides=2, padding="same"), (8, 2), True),
    (lambda: Layers.AveragePooling2D(2), (6, 4, 2), True),
    (lambda: Layers.AveragePooling2D((3, 2), strides=1, padding="same"), (5, 6, 1), True),
    (lambda: Layers.AveragePooling2D(3, strides=2), (8, 7, 2), True),
    (lambda: Layers.GlobalAveragePooling1D(), (5, 3), True),
    (lambda: Layers.GlobalAveragePooling2D(keepdims=True), (5, 3, 2), True),
    (lambda: Layers.ZeroPadding1D(2), (4, 2), True),
    (lambda: Layers.ZeroPadding2D(((1, 0), (2, 1))), (4, 3, 2), True),
    (lambda: Layers.Cropping1D(1), (4, 2), True),
    (lambda: Layers.Cropping2D(1), (4, 5, 2), True),
    (lambda: Layers.UpSampling1D(3), (4, 2), True),
    (lambda: Layers.UpSampling2D((2, 3)), (4, 3, 2), True),
    (lambda: Layers.RepeatVector(5), (4,), True),
    (lambda: Layers.Flatten(), (3, 2), True),
    (lambda: Layers.Permute((2, 1)), (3, 2), True),
    (lambda: Layers.Reshape((6,)), (3, 2), True),
    (lambda: Layers.Identity(), (3, 2), True),
    (lambda: Layers.Activation("linear"), (3, 2), True),
    (lambda: Layers.SpatialDropout2D(0.5), (3, 2, 2), True),
    (lambda: Layers.GaussianDropout(0.5), (3, 2), True),
    (lambda: Layers.ActivityRegularization(0.5), (3, 2), True),
]


def _model(layer, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    rng = np.random.default_rng(3)
    # Variances, the only weights that must not be negative, are of the same kind here.
    model.set_weights([np.abs(rng.normal(size=w.shape)) for w in model.get_weights()])
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return model


@pytest.mark.parametrize(("make", "shape", "exact"), LINEAR)
def test_bound_of_a_linear_layer_is_above_the_oracle(make, shape, exact):
    model = _model(make(), shape)
    grouped = getattr(model.layers[0], "groups", 1) > 1
    # Keras convolves groups through XLA, in float32 as in float64.
    constant = np.linalg.norm(jacobian(freeze_encoder(model), shape), 2)
    bound = lipschitz_bound(model)
    assert bound >= constant * (1 - (1e-12 if not grouped else 1e-9))
    assert bound <= constant * (1 + (1e-9 if exact else 0.5))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Layers.Conv2D(9, 3, padding="same"), (24, 25, 8)),
        (lambda: Layers.Conv2D(9, 3, strides=2, padding="same"), (30, 31, 6)),
        (lambda: Layers.Conv2D(8, (2, 5), strides=(3, 2)), (40, 31, 6)),
        (lambda: Layers.Conv2D(8, 3, dilation_rate=2, padding="same"), (24, 25, 8)),
        (lambda: Layers.Conv2D(8, 3, groups=4, padding="same"), (24, 25, 8)),
        (lambda: Layers.DepthwiseConv2D(5, padding="same"), (24, 25, 8)),
    ],
)
def test_bound_of_a_large_convolution_holds_and_is_close(make, shape):
    model = _model(make(), shape)
    layer = model.layers[0]
    # Power iteration finds the norm from below; the bound has to be above it.
    vector = keras.random.normal((1, *shape))
    bias = layer.bias.numpy()
    layer.bias.assign(np.zeros_like(bias))
    bound = lipschitz_bound(model)

    @tf.function
    def step(vector):
        with tf.GradientTape() as tape:
            tape.watch(vector)
            half_square = tf.reduce_sum(model(vector) ** 2) / 2
        vector = tape.gradient(half_square, vector)
        return vector / tf.norm(vector), tf.sqrt(2 * half_square)

    for _ in range(150):
        vector, norm = step(vector / tf.norm(vector))
    assert norm <= bound * (1 + 1e-5)
    assert norm >= bound * 0.9


def test_patches_are_bounded_by_their_one_matrix():
    model = _model(Layers.Conv2D(4, 16, strides=16, use_bias=False), (224, 224, 3))
    kernel = model.layers[0].kernel.numpy().reshape(-1, 4)
    exact = np.linalg.norm(kernel.astype(np.float64), 2)
    assert exact <= lipschitz_bound(model) <= exact * (1 + 1e-9)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Layers.MaxPooling1D(3, strides=1), (9, 2)),
        (Layers.MaxPooling2D(2), (6, 6, 2)),
        (Layers.MaxPooling2D(3, strides=2, padding="same"), (8, 7, 2)),
        (Layers.MaxPooling2D((3, 2), strides=(1, 2)), (7, 6, 1)),
        (Layers.GlobalMaxPooling1D(), (9, 2)),
        (Layers.GlobalMaxPooling2D(), (5, 4, 2)),
    ],
)
def test_max_pooling_moves_no_images_further_apart_than_its_bound(layer, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    bound = lipschitz_bound(model)
    rng = np.random.default_rng(0)
    # A single bright pixel shows in every window that holds it.
    pixels = np.eye(int(np.prod(shape)), dtype=np.float32).reshape(-1, *shape)
    moved = np.linalg.norm(np.reshape(model(pixels), (len(pixels), -1)), axis=1)
    assert moved.max() <= bound
    assert moved.max() == pytest.approx(bound)
    left, right = rng.normal(size=(2, 256, *shape)).astype(np.float32)
    moved = np.linalg.norm(np.reshape(model(left) - model(right), (256, -1)), axis=1)
    assert np.all(moved <= bound * np.linalg.norm((left - right).reshape(256, -1), axis=1))


def test_non_overlapping_max_pooling_has_the_constant_one():
    assert lipschitz_bound(Layers.MaxPooling2D(2), (None, 6, 4, 3)) == 1.0
    assert lipschitz_bound(Layers.MaxPooling2D(3, strides=2), (None, 7, 7, 3)) == 2.0


def test_activation_of_a_layer_is_counted():
    model = _model(Layers.Dense(3, activation="silu"), (4,))
    plain = _model(Layers.Dense(3), (4,))
    assert lipschitz_bound(model) == pytest.approx(1.09985 * lipschitz_bound(plain))


def test_batch_normalization_after_training_has_its_inference_constant():
    model = keras.Sequential([keras.Input((3,)), Layers.BatchNormalization()])
    model.compile("sgd", "mse")
    data = np.random.default_rng(0).normal(size=(64, 3)) * [0.1, 1.0, 10.0]
    model.fit(data, data, verbose=0, epochs=3)
    exact = np.linalg.norm(jacobian(freeze_encoder(model), (3,)), 2)
    assert exact * (1 - 1e-12) <= lipschitz_bound(model) <= exact * (1 + 1e-9)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (Layers.Conv2D(2, 3, name="culprit"), (None, 8, 3), "culprit.*depends on the size"),
        (Layers.AveragePooling2D(2, name="culprit"), (8, None, 3), "culprit.*depends on the size"),
        (Layers.GlobalAveragePooling2D(name="culprit"), (8, None, 3), "culprit.*depends"),
        (Layers.UpSampling2D(2, interpolation="bilinear", name="culprit"), (4, 4, 1), "culprit"),
        (Layers.Rescaling(np.ones((3, 1)), name="culprit"), (3, 1), "culprit.*scale"),
        (Layers.Rescaling(1.0, [1.0, 2.0], name="culprit"), (3, 1), "culprit.*offset"),
        (Layers.Rescaling(np.inf, name="culprit"), (3, 1), "culprit.*finite"),
        (Layers.Dense(2, activation="exponential", name="culprit"), (3,), "culprit.*exponential"),
        (Layers.Activation(lambda x: 7 * x, name="culprit"), (3,), "culprit"),
        (Layers.ReLU(threshold=1.0, name="culprit"), (3,), "culprit.*threshold"),
        (Layers.Softmax(axis=0, name="culprit"), (3,), "culprit.*along the batch"),
        (Layers.Conv1DTranspose(2, 3, name="culprit"), (4, 1), "culprit.*Conv1DTranspose"),
        (Layers.LayerNormalization(name="culprit"), (3,), "culprit.*LayerNormalization"),
        (Layers.Lambda(lambda x: 7 * x, name="culprit"), (3,), "culprit.*Lambda"),
    ],
)
def test_what_cannot_be_bounded_is_refused_by_name(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        lipschitz_bound(keras.Sequential([keras.Input(shape), layer]))


def test_channels_first_is_refused():
    layer = Layers.AveragePooling2D(2, data_format="channels_first", name="culprit")
    with pytest.raises(ValueError, match="culprit.*channels_first"):
        lipschitz_bound(layer, (None, 2, 4, 4))


def test_adapted_kernel_is_refused():
    model = keras.Sequential([keras.Input((3,)), Layers.Dense(3, name="culprit")])
    model.layers[0].enable_lora(1)
    with pytest.raises(ValueError, match="culprit.*lora"):
        lipschitz_bound(model)
    model = keras.Sequential([keras.Input((3,)), Layers.Dense(3, name="culprit")])
    model.layers[0].quantize("int8")
    with pytest.raises(ValueError, match="culprit"):
        lipschitz_bound(model)


def test_negative_variance_is_refused():
    model = keras.Sequential([keras.Input((3,)), Layers.BatchNormalization(name="culprit")])
    model.layers[0].moving_variance.assign([1.0, -1.0, 1.0])
    with pytest.raises(ValueError, match="culprit.*variance"):
        lipschitz_bound(model)
