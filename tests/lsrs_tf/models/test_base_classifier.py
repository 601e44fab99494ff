import fractions
import math

import keras
import numpy as np
import pytest

import lsrs_tf
from lsrs_tf import layers, models
from lsrs_tf.models.base_classifier import BaseClassifier, distances_of_columns

SHAPE = (4, 4, 1)


def _model(*head, encoder=None):
    if encoder is None:
        encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Identity()])
    latent_shape = encoder.output_shape[1:]
    head = keras.Sequential([keras.Input(latent_shape), *head])
    return models.LatentSmoothingModel(encoder, head, 0.0)


def _linear_model(kernel, bias):
    model = _model(keras.layers.Flatten(), keras.layers.Dense(kernel.shape[1]))
    model.head.layers[-1].set_weights([kernel, bias])
    return model


@pytest.mark.parametrize("scale", [1e-160, 1e-8, 1.0, 1e8, 1e160])
def test_distances_of_columns_are_bounded_exactly(scale):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(20, 5)) * scale
    # Columns that are nearly equal, equal, and of very different sizes.
    kernel[:, 1] = kernel[:, 0] * (1 + 1e-15)
    kernel[:, 2] = kernel[:, 3]
    kernel[0, 4] = scale * 1e100 if scale < 1 else scale * 1e-100
    bounds = distances_of_columns(kernel)
    for i in range(5):
        for j in range(5):
            exact = sum(
                (fractions.Fraction(a) - fractions.Fraction(b)) ** 2
                for a, b in zip(kernel[:, i], kernel[:, j], strict=True)
            )
            assert fractions.Fraction(bounds[i, j]) ** 2 >= exact
            assert bounds[i, j] > 0
            if i != j and {i, j} not in ({0, 1}, {2, 3}):
                assert (
                    fractions.Fraction(bounds[i, j]) ** 2
                    <= exact * (1 + fractions.Fraction(1, 10**12)) ** 2
                )


def test_radius_of_a_linear_model_is_the_distance_to_its_boundary():
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(16, 2)).astype(np.float32), np.float32([0.1, -0.2])
    images = rng.uniform(size=(20, *SHAPE)).astype(np.float32)
    result = lsrs_tf.certify(_linear_model(kernel, bias), images, method="margin", verbose=0)
    w = kernel[:, 0].astype(np.float64) - kernel[:, 1]
    b = np.float64(bias[0]) - np.float64(bias[1])
    distances = np.abs(images.reshape(20, -1).astype(np.float64) @ w + b) / np.linalg.norm(w)
    assert np.all(result.radii <= distances)
    np.testing.assert_allclose(result.radii, distances, rtol=0, atol=1e-9)


def test_constants_of_pairs_are_at_most_the_loose_ones():
    rng = np.random.default_rng(2)
    model = _model(
        keras.layers.Flatten(),
        layers.OrthogonalDense(16),
        layers.GroupSort(2),
        keras.layers.Dense(10),
        encoder=keras.Sequential([keras.Input(SHAPE), layers.OrthogonalConv2D(1, 3)]),
    )
    model.head.layers[-1].kernel.assign(rng.normal(size=(16, 10)))
    classifier = BaseClassifier(model)
    loose = math.sqrt(2) * classifier.lipschitz_report.bound
    pairs = classifier.margin_scale.pair_lipschitz
    others = ~np.eye(10, dtype=bool)
    assert np.all(pairs[others] <= loose * (1 + 1e-9))
    assert pairs[others].mean() < 0.8 * loose
    np.testing.assert_array_equal(pairs, pairs.T)


def test_without_a_dense_last_layer_the_loose_constant_is_taken():
    model = _model(
        keras.layers.Flatten(), keras.layers.Dense(3), keras.layers.LeakyReLU(negative_slope=0.5)
    )
    classifier = BaseClassifier(model)
    pairs = classifier.margin_scale.pair_lipschitz
    np.testing.assert_allclose(pairs, math.sqrt(2) * classifier.lipschitz_report.bound, rtol=1e-12)


def test_a_single_layer_is_a_head():
    encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()])
    head = keras.layers.Dense(3)
    head.build((None, 16))
    classifier = BaseClassifier(models.LatentSmoothingModel(encoder, head, 0.0))
    assert classifier.num_classes == 3 and classifier.image_shape == SHAPE


def test_later_training_does_not_reach_it():
    model = _linear_model(np.ones((16, 2), np.float32), np.float32([1, 0]))
    classifier = BaseClassifier(model)
    before = classifier.logits(np.ones(SHAPE, np.float32))
    model.head.layers[-1].kernel.assign(np.zeros((16, 2)))
    np.testing.assert_array_equal(classifier.logits(np.ones(SHAPE, np.float32)), before)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (lambda: keras.layers.Dense(3, activation="softmax"), "Margins of logits certify more"),
        (lambda: keras.layers.Dense(3, activation="sigmoid"), "Margins of logits certify more"),
        (lambda: keras.layers.Softmax(), "Margins of logits certify more"),
        (lambda: keras.layers.Dense(3, dtype="float16"), "logits in float16"),
        (lambda: keras.layers.Dense(3, dtype="mixed_bfloat16"), "logits in bfloat16"),
        (lambda: keras.layers.Dense(1), "at least two classes"),
        (lambda: keras.layers.Reshape((4, 4)), "logits \\[batch, classes\\]"),
    ],
)
def test_heads_that_give_no_logits_are_refused(last, message):
    with pytest.raises(ValueError, match=message):
        BaseClassifier(_model(keras.layers.Flatten(), last()))


class _Squared(keras.layers.Layer):
    def call(self, inputs):
        return inputs**2


def test_a_head_layer_without_a_rule_is_named_and_sampling_is_advised():
    model = _model(keras.layers.Flatten(), _Squared(name="squared"), keras.layers.Dense(2))
    with pytest.raises(ValueError, match="'squared'.*method='fixed' the head is free"):
        BaseClassifier(model)
    model = _model(keras.layers.Lambda(lambda x: x, name="own"), keras.layers.Flatten())
    with pytest.raises(ValueError, match="'own' of class Lambda.*method='fixed'"):
        BaseClassifier(model)


@pytest.mark.parametrize("part", ["encoder", "head"])
def test_parts_that_are_patched_are_refused(part):
    model = _linear_model(np.eye(16, 3, dtype=np.float32), np.zeros(3, np.float32))
    patched = getattr(model, part)
    original = patched.call
    patched.call = lambda inputs, training=None, mask=None: -100 * original(inputs)
    with pytest.raises(ValueError, match="has its own call"):
        BaseClassifier(model)
    if part == "encoder":
        with pytest.raises(ValueError, match="has its own call"):
            lsrs_tf.certify(model, np.zeros((1, *SHAPE), np.float32), sigma=0.1, verbose=0)


@pytest.mark.parametrize("name", ["call", "classify", "encode"])
def test_models_that_are_patched_are_refused(name):
    model = _linear_model(np.eye(16, 3, dtype=np.float32), np.zeros(3, np.float32))
    setattr(model, name, lambda inputs, training=False: inputs)
    with pytest.raises(ValueError, match=f"changes `{name}`"):
        BaseClassifier(model)


def test_a_patched_convolution_is_refused():
    encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(2, 3)])
    encoder.layers[0].convolution_op = lambda inputs, kernel: 2 * inputs
    model = _model(keras.layers.Flatten(), keras.layers.Dense(2), encoder=encoder)
    with pytest.raises(ValueError, match="has its own convolution_op"):
        BaseClassifier(model)


def test_inputs_that_round_are_refused():
    encoder = keras.Sequential([keras.Input(SHAPE, dtype="uint8"), keras.layers.Rescaling(1.0)])
    model = _model(keras.layers.Flatten(), keras.layers.Dense(2), encoder=encoder)
    with pytest.raises(ValueError, match="takes inputs of type uint8.*dtype='float32'"):
        BaseClassifier(model)
    with pytest.raises(ValueError, match="takes inputs of type uint8"):
        lsrs_tf.certify(model, np.zeros((1, *SHAPE), np.float32), sigma=0.1, verbose=0)
