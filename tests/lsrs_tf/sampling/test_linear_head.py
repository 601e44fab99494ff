import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import lsrs_tf
from lsrs_tf import Certifier, layers, models
from lsrs_tf.sampling import random_streams
from lsrs_tf.sampling.linear_head import factorized, with_few_latents
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier
from tests.simulated import pixel, probability, threshold_model

SHAPE = (4, 4, 2)


def _model(classes=4, head=None, seed=0, sigma=0.5):
    keras.utils.set_random_seed(seed)
    encoder = keras.Sequential([keras.Input(SHAPE), layers.OrthogonalConv2D(2, 3)])
    head = head or keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(classes)]
    )
    dense = head.layers[-1]
    if hasattr(dense, "kernel") and dense.use_bias:
        rng = np.random.default_rng(seed)
        dense.bias.assign(0.3 * rng.normal(size=dense.bias.shape))
    return models.LatentSmoothingModel(encoder, head, sigma)


def _images(count, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(size=(count, *shape)).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 4, 40])
def test_logits_have_the_same_mean_and_covariance(classes):
    model = _model(classes)
    encoder = model.freeze_encoder()
    inner, outer = with_few_latents(encoder, model.head)
    size = min(classes, 32)
    assert inner.outputs[0].shape == (None, size)
    kernel = model.head.layers[-1].kernel.numpy().astype(np.float64)
    triangle, bias = (weight.numpy() for weight in outer.layers[-1].weights)
    # With noise of standard deviation 1 it is W'W: differences are tiny for every pair of classes.
    np.testing.assert_allclose(triangle.T @ triangle, kernel.T @ kernel, rtol=0, atol=1e-14)
    images = _images(3)
    latents = encoder(images).numpy().reshape(3, -1)
    expected = latents @ kernel + bias
    np.testing.assert_allclose(inner(images) @ triangle + bias, expected, atol=1e-14)
    np.testing.assert_allclose(outer(tf.cast(inner(images), tf.float32)), expected, atol=1e-6)


def test_columns_of_all_sizes_are_factorized_accurately():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(50, 6)) * 10.0 ** np.array([-30, -9, 0, 0, 9, 30])
    kernel[:, 3] = kernel[:, 2] * 2
    for matrix in (kernel, np.zeros((5, 3)), kernel[:3]):
        columns, triangle = factorized(matrix)
        norms = np.linalg.norm(matrix, axis=0)
        error = np.abs(triangle.T @ triangle - matrix.T @ matrix)
        assert np.all(error <= 1e-13 * np.outer(norms, norms))
        np.testing.assert_allclose(columns.T @ columns, np.eye(columns.shape[1]), atol=1e-13)
    with pytest.raises(ValueError, match="not finite"):
        factorized(np.full((3, 2), np.nan))


def test_inaccurate_factors_are_refused(monkeypatch):
    right = factorized(np.eye(3))
    monkeypatch.setattr("scipy.linalg.qr", lambda *_, **__: (right[0], right[1] * (1 + 1e-10)))
    with pytest.raises(ValueError, match="cannot be factorized"):
        factorized(np.eye(3))


def _counts(model, noise, image, samples, **arguments):
    classifier = SmoothedClassifier(model, noise=noise, **arguments)
    requests = [(random_streams.ESTIMATION, samples)]
    (counts,) = classifier.count(image, classifier.encode(image), requests, seed=3)
    return counts


def test_votes_have_the_law_of_votes_of_the_latent():
    samples = 40_000
    for seed in range(3):
        model = _model(seed=seed)
        (image,) = _images(1, seed=seed)
        counts = [_counts(model, noise, image, samples) for noise in ("float32", "logits")]
        # The streams are the same, but not what is made of them.
        assert np.any(counts[0] != counts[1]) and np.all(np.sum(counts, axis=1) == samples)
        assert np.sum(np.min(counts, axis=0) > 100) >= 3
        seen = np.array(counts)[:, np.min(counts, axis=0) > 0]
        assert scipy.stats.chi2_contingency(seen).pvalue > 1e-3
    # Noise of another size is told apart.
    other = _counts(model, "logits", image, samples, sigma=0.55)
    assert scipy.stats.chi2_contingency([counts[0], other]).pvalue < 1e-6


def test_votes_have_the_exact_probabilities():
    for value in (0.3, 0.5, 0.62):
        counts = _counts(threshold_model(0.5, 0.25, 3), "logits", pixel(value), 40_000)
        p = probability(value, 0.5, 0.25)
        assert counts[2] == 0
        assert scipy.stats.binomtest(int(counts[1]), 40_000, p).pvalue > 1e-3


def test_counts_do_not_depend_on_passes_or_on_other_images():
    model = _model()
    images = _images(3)
    settings = {"n0": 20, "n": 700, "alpha": 0.01, "noise": "logits", "verbose": 0}
    expected = lsrs_tf.certify(model, images, batch_size=64, **settings)
    for batch_size, order in ((64, [2, 0, 1]), (50, [0, 1, 2]), (1_000, [1, 2, 0])):
        found = lsrs_tf.certify(model, images[order], batch_size=batch_size, **settings)
        np.testing.assert_array_equal(found.counts, expected.counts[order])
    alone = Certifier(model, **{k: v for k, v in settings.items() if k != "verbose"})
    np.testing.assert_array_equal(alone.certify(images[1]).counts, expected.counts[1])


@pytest.mark.parametrize(
    "settings",
    [
        {"n": 2_000},
        {"n": 2_000, "against": "runner_up"},
        {"n": 2_000, "images_per_draw": 4},
        {"n": 2_000, "method": "sequential", "target_radii": [0.05, 0.2]},
        {"n": 2_000, "method": "sequential", "tolerance": 0.1},
    ],
)
def test_certificates_are_like_those_of_the_latent(settings):
    model, images = _model(), _images(6)
    plain, few = (
        lsrs_tf.certify(model, images, noise=noise, verbose=0, **settings)
        for noise in ("float32", "logits")
    )
    assert few.settings.columns()["noise"] == "logits"
    decided = (plain.labels >= 0) & (few.labels >= 0)
    assert decided.any()
    np.testing.assert_array_equal(plain.labels[decided], few.labels[decided])
    np.testing.assert_allclose(few.radii, plain.radii, atol=0.1)
    # The projection costs nothing but rounding.
    assert few.scale.lipschitz <= plain.scale.lipschitz * (1 + 1e-9)


def test_bound_covers_the_projection():
    model = _model()
    classifier = SmoothedClassifier(model, noise="logits")
    assert classifier.latent_shape == (4,)
    # A projection that is too large makes the bound larger, and radii smaller.
    inner, _ = with_few_latents(model.freeze_encoder(), model.head)
    projection = inner.layers[-1]
    projection.kernel.assign(2 * projection.kernel.numpy())
    assert lsrs_tf.lipschitz_bound(inner) >= 2 > 1.1 > classifier.lipschitz_report.bound


def test_clean_label_is_that_of_the_base_classifier():
    model, images = _model(), _images(8)
    classifier = SmoothedClassifier(model, noise="logits")
    labels = [classifier.clean_label(classifier.encode(image)) for image in images]
    assert labels == model(images).numpy().argmax(axis=1).tolist()


def _sequential(*rest):
    return keras.Sequential([keras.Input(SHAPE), *rest])


def _flat(*rest):
    return _sequential(keras.layers.Flatten(), *rest)


def _functional(make):
    latents = keras.Input(SHAPE)
    return keras.Model(latents, make(keras.layers.Flatten()(latents)))


HEADS = {
    "no bias": lambda: _flat(keras.layers.Dense(3, use_bias=False)),
    "functional": lambda: _functional(keras.layers.Dense(3, use_bias=False)),
    "nested": lambda: _sequential(_flat(keras.layers.Dense(3))),
    "float64": lambda: _flat(keras.layers.Dense(3, dtype="float64")),
    "linear": lambda: _flat(keras.layers.Dense(3, activation="linear")),
    "orthogonal": lambda: _flat(layers.OrthogonalDense(3)),
}


@pytest.mark.parametrize("kind", HEADS)
def test_heads_of_one_dense_layer_are_taken(kind):
    model, images = _model(head=HEADS[kind]()), _images(4)
    classifier = SmoothedClassifier(model, noise="logits")
    latents = tf.stack([classifier.encode(image) for image in images])
    np.testing.assert_allclose(classifier.head(latents), model(images), atol=1e-5)


def test_latent_of_one_dimension_needs_no_flatten():
    encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    dense = keras.layers.Dense(3)
    dense.build((None, 16))
    model = models.LatentSmoothingModel(encoder, dense, 0.5)
    (image,) = _images(1, (4, 4, 1))
    assert SmoothedClassifier(model, noise="logits").latent_shape == (3,)
    assert _counts(model, "logits", image, 300).sum() == 300


class _Twice(keras.layers.Dense):
    def call(self, inputs):
        return 2 * super().call(inputs)


def _patched():
    dense = keras.layers.Dense(3)
    head = _flat(dense)
    dense.call = lambda inputs: inputs[:, :3]
    return head


REFUSED = {
    "activation": lambda: _flat(keras.layers.Dense(3, activation="softmax")),
    "two layers": lambda: _flat(keras.layers.Dense(5), keras.layers.Dense(3)),
    "pooling": lambda: _sequential(keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)),
    "subclass": lambda: _flat(_Twice(3)),
    "patched": _patched,
    "half": lambda: _flat(keras.layers.Dense(3, dtype="mixed_bfloat16")),
    "channels first": lambda: _sequential(
        keras.layers.Flatten(data_format="channels_first"), keras.layers.Dense(3)
    ),
    "sum": lambda: _functional(
        lambda values: keras.layers.add([keras.layers.Dense(3)(values) for _ in range(2)])
    ),
    "residual layer": lambda: _flat(layers.SDPLipschitzDense(3)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_heads_are_refused(kind):
    model = _model(head=REFUSED[kind]())
    with pytest.raises(ValueError, match="noise='logits' needs a head that is one dense layer"):
        Certifier(model, noise="logits")


def test_weights_that_are_not_finite_are_refused():
    model = _model()
    kernel = model.head.layers[-1].kernel
    kernel.assign(np.where(np.arange(32)[:, np.newaxis] == 3, np.inf, kernel))
    with pytest.raises(ValueError, match="not finite"):
        Certifier(model, noise="logits")


@pytest.fixture
def _restored_keras():
    """Gives back what a test changes of Keras' settings."""
    data_format, floatx = keras.config.image_data_format(), keras.config.floatx()
    yield
    keras.config.set_image_data_format(data_format)
    keras.config.set_floatx(floatx)


@pytest.mark.usefixtures("_restored_keras")
def test_settings_of_keras_change_nothing():
    model, images = _model(), _images(4)
    expected = lsrs_tf.certify(model, images, n=200, noise="logits", verbose=0)
    for change in (
        lambda: keras.config.set_image_data_format("channels_first"),
        lambda: keras.config.set_floatx("float16"),
        lambda: keras.config.set_floatx("bfloat16"),
    ):
        change()
        found = lsrs_tf.certify(model, images, n=200, noise="logits", verbose=0)
        np.testing.assert_array_equal(found.counts, expected.counts)


def test_classes_of_equal_weights_tie_as_before():
    for seed in range(5):
        model = _model(seed=seed)
        dense = model.head.layers[-1]
        kernel, bias = dense.get_weights()
        kernel[:, 2] = kernel[:, 1]
        dense.set_weights([kernel, np.float32([-100, 0, 0, -100])])
        result = lsrs_tf.certify(model, _images(3), n=200, noise="logits", verbose=0)
        assert (result.labels == -1).all()
        assert result.counts.sum() == 0
