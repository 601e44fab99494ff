import keras
import numpy as np
import pytest

import lsrs_tf
from lsrs_tf import layers, models
from lsrs_tf.models.base_classifier import BaseClassifier
from lsrs_tf.models.freezing import freeze_encoder


def _small(**arguments):
    sizes = {"width": 6, "depth": 2, "dense_depth": 2, "dense_width": 10, "pool_size": 2}
    return models.fars(**{**sizes, "input_shape": (8, 8, 3), "num_classes": 4, **arguments})


def _kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def test_encoder_is_the_published_sequence_of_layers():
    model = _small(embedding=5)
    assert _kinds(model.encoder) == [
        "InputLayer",
        "Standardization",
        "OrthogonalConv2D",
        *["SDPLipschitzConv2D"] * 2,
        *["ScaledAveragePooling2D"] * 2,
        "Flatten",
        *["SDPLipschitzDense"] * 2,
        "OrthogonalDense",
    ]
    assert model.encoder.get_layer("conv1").kernel.shape == (3, 3, 6, 30)
    assert model.encoder.get_layer("dense2").kernel.shape == (24, 10)
    assert _kinds(model.head) == ["InputLayer", "Dense"]
    assert model(np.zeros((2, 8, 8, 3), np.float32)).shape == (2, 4)


def test_heads_are_linear_or_have_activations_between():
    head = _small(head_units=[7, 5]).head
    assert [layer.units for layer in head.layers[1:]] == [7, 5, 4]
    activations = [layer.activation.__name__ for layer in head.layers[1:]]
    assert activations == ["relu", "relu", "linear"]
    assert _small().head.layers[1].activation is keras.activations.linear


@pytest.mark.parametrize("parametrization", ["cayley", "sll", "spectral"])
def test_bound_is_one_after_training_and_no_pair_moves_apart(parametrization):
    model = _small(embedding=5, parametrization=parametrization)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(64, 8, 8, 3)).astype(np.float32)
    model.fit(images, rng.integers(4, size=64), batch_size=8, epochs=3, verbose=0)
    frozen = freeze_encoder(model.encoder)
    report = lsrs_tf.lipschitz_report(frozen)
    assert report.bound <= 1 + 1e-9 and report.rounding_error < 1e-10
    assert lsrs_tf.lipschitz_bound(model) <= 1 + 1e-9
    left, step = images[:32].astype(np.float64), rng.normal(size=(32, 8, 8, 3))
    step *= 10.0 ** -(np.arange(32) % 6).reshape(-1, 1, 1, 1)
    moved = np.linalg.norm((frozen(left) - frozen(left + step)).numpy(), axis=1)
    distance = np.linalg.norm(step.reshape(32, -1), axis=1)
    assert np.all(moved <= report.bound * distance * (1 + 1e-8))
    np.testing.assert_allclose(frozen(images), model.encode(images), atol=1e-5)


def test_published_network_has_its_sizes():
    model = models.fars_small()
    assert model.encoder.input_shape == (None, 224, 224, 3)
    assert model.encoder.output_shape == (None, 768)
    assert [type(layer) for layer in model.encoder.layers].count(layers.SDPLipschitzConv2D) == 20
    assert model.encoder.get_layer("conv20").kernel.shape == (3, 3, 45, 225)
    assert model.encoder.get_layer("dense7").kernel.shape == (45 * 14 * 14, 1024)
    assert model.head.get_layer("logits").kernel.shape == (768, 10)


@pytest.mark.parametrize("size", [32, 64])
def test_tiny_network_takes_images_of_both_sizes(size):
    model = models.fars_tiny(input_shape=(size, size, 3), width=12, depth=1, head_units=[8])
    assert model.encoder.output_shape == (None, 192)
    assert model(np.zeros((2, size, size, 3), np.float32)).shape == (2, 10)
    assert lsrs_tf.lipschitz_bound(model) <= 1 + 1e-9


def test_is_certified_and_saved(tmp_path):
    model = _small(head_units=[6])
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype(np.float32)
    before = lsrs_tf.certify(model, images, n=100)
    model.save(tmp_path / "model.keras")
    after = lsrs_tf.certify(keras.models.load_model(tmp_path / "model.keras"), images, n=100)
    np.testing.assert_array_equal(before.radii, after.radii)


def test_runs_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = _small()
    finally:
        keras.config.set_dtype_policy("float32")
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype(np.float32)
    assert model.encode(images).dtype == "bfloat16"
    assert model(images).dtype == "float32"
    assert lsrs_tf.lipschitz_bound(model) <= 1 + 1e-9


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: _small(depth=-1), "`depth` of a fars"),
        (lambda: _small(dense_depth=1.5), "`dense_depth`"),
        (lambda: _small(width=0), "filters"),
        (lambda: _small(head_units=[0]), "units"),
        (lambda: _small(pool_size=3), "windows divide"),
        (lambda: _small(parametrization="svd"), "parametrization"),
        (lambda: models.fars_tiny(input_shape=(40, 40, 3)), "multiple of 16"),
        (lambda: models.fars_tiny(input_shape=(32, 64, 3)), "square"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_orthogonal_head_keeps_distances_of_classes():
    model = _small(orthogonal_head=True)
    classifier = BaseClassifier(model)
    pairs = classifier.margin_scale.pair_lipschitz[~np.eye(4, dtype=bool)]
    np.testing.assert_allclose(pairs, np.sqrt(2), rtol=1e-6)
