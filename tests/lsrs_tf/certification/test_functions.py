import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import lsrs_tf
from lsrs_tf import layers, models
from tests.simulated import pixel, silent_model, threshold_model


def _model():
    keras.utils.set_random_seed(0)
    return models.convnet(width=4, num_classes=3, sigma=0.5)


def _images(count=6):
    return np.random.default_rng(0).uniform(size=(count, 8, 8, 1)).astype(np.float32)


def _certify(model, images, **settings):
    return lsrs_tf.certify(model, images, **{"n0": 20, "n": 300, "verbose": 0, **settings})


def test_result_describes_itself():
    result = _certify(_model(), _images())
    assert result.labels.dtype == np.int64
    assert result.radii.dtype == result.p_lower.dtype == np.float64
    assert result.counts.shape == result.selection_counts.shape == (6, 3)
    np.testing.assert_array_equal(result.counts.sum(axis=1), 300)
    np.testing.assert_array_equal(result.radii > 0, result.labels >= 0)
    assert (result.scale.sigma, result.settings.n0, result.settings.n, result.settings.alpha) == (
        0.5,
        20,
        300,
        0.001,
    )
    assert 1 <= result.scale.lipschitz <= 1 + 1e-9


def test_every_way_to_give_images_gives_the_same_counts():
    model, images = _model(), _images()
    labels = np.arange(6)
    expected = _certify(model, images).counts
    dataset = tf.data.Dataset.from_tensor_slices
    for given in (
        tf.constant(images),
        images.astype(np.float64),
        dataset(images),
        dataset(images).batch(4),
        dataset((images, labels)),
        dataset((images, labels)).batch(4),
        dataset({"image": images, "label": labels}),
        list(images),
    ):
        np.testing.assert_array_equal(_certify(model, given).counts, expected)


def test_counts_depend_on_image_and_seed_alone():
    model, images = _model(), _images()
    result = _certify(model, images)
    order = [4, 1, 1, 0]
    np.testing.assert_array_equal(_certify(model, images[order]).counts, result.counts[order])
    for batch_size in (1, 7, 300, 1000):
        other = _certify(model, images, batch_size=batch_size)
        np.testing.assert_array_equal(other.counts, result.counts)
    assert (_certify(model, images, seed=1).counts != result.counts).any()


def test_saved_and_loaded_model_gives_the_same_counts(tmp_path):
    model, images = _model(), _images()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(_certify(loaded, images).counts, _certify(model, images).counts)


def test_training_is_seen_by_the_next_call():
    model, images = _model(), _images()
    before = _certify(model, images).counts
    for weights in (model.encoder, model.head):
        weights.set_weights([weight + 0.3 for weight in weights.get_weights()])
    assert (_certify(model, images).counts != before).any()


@pytest.mark.parametrize("kind", ["sequential", "functional", "list", "layer"])
def test_encoder_and_head_of_every_kind(kind):
    conv = layers.OrthogonalConv2D(4, 3, strides=2)
    inputs = keras.Input((8, 8, 1))
    encoder = {
        "sequential": lambda: keras.Sequential([inputs, conv, layers.GroupSort()]),
        "functional": lambda: keras.Model(inputs, conv(inputs)),
        "list": lambda: keras.Model([inputs], [conv(inputs)]),
        "layer": lambda: (conv.build((None, 8, 8, 1)), conv)[1],
    }[kind]()
    head = keras.Sequential([keras.Input((4, 4, 4)), keras.layers.Flatten(), keras.layers.Dense(3)])
    result = _certify(models.LatentSmoothingModel(encoder, head, 0.1), _images(2))
    np.testing.assert_array_equal(result.counts.sum(axis=1), 300)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_reaches_the_head_alone(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = models.convnet(width=4, num_classes=3)
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(_images(), np.arange(6) % 3, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    frozen = model.freeze_encoder()
    assert all(weight.dtype == "float64" for weight in frozen.weights)
    result = _certify(model, _images(2))
    assert result.scale.lipschitz <= 1 + 1e-9
    assert result.counts.sum() > 0


def test_no_images_give_an_empty_result():
    result = _certify(_model(), np.zeros((0, 8, 8, 1), np.float32))
    assert result.labels.shape == (0,)
    assert result.counts.shape == (0, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 1), np.uint8), "uint8.*255"),
        (np.full((2, 8, 8, 1), 1.01, np.float32), r"outside \[0, 1\]"),
        (np.full((2, 8, 8, 1), -0.01, np.float32), r"outside \[0, 1\]"),
        (np.full((2, 8, 8, 1), np.nan, np.float32), "NaN"),
        (np.full((2, 8, 8, 1), np.inf, np.float32), "infinite"),
        (np.zeros((2, 8, 9, 1), np.float32), "wrong shape"),
        (np.zeros((8, 8, 1), np.float32), "leading dimension"),
    ],
)
def test_images_that_cannot_be_certified_are_refused(images, message):
    for function in (lsrs_tf.certify, lsrs_tf.predict):
        with pytest.raises(ValueError, match=message):
            function(_model(), images, verbose=0)


class _Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return _images()[3 * index : 3 * index + 3], np.zeros(3)

    def __iter__(self):
        while True:
            yield self[0]


@pytest.mark.parametrize("verbose", [0, 1])
def test_sequences_that_iterate_for_ever_are_read_once(verbose):
    model, images = _model(), _images()
    for settings in ({}, {"images_per_draw": 4}, {"method": "sequential", "target_radii": 0.1}):
        expected = _certify(model, images, **settings)
        result = _certify(model, _Sequence(), **{**settings, "verbose": verbose})
        np.testing.assert_array_equal(result.counts, expected.counts)
    np.testing.assert_array_equal(
        lsrs_tf.predict(model, _Sequence(), verbose=verbose),
        lsrs_tf.predict(model, images, verbose=0),
    )


def test_images_without_an_end_are_refused_before_the_encoder_is_proven(monkeypatch):
    def proven(*_):
        raise AssertionError("the encoder was frozen")

    model = _model()
    monkeypatch.setattr(models.LatentSmoothingModel, "freeze_encoder", proven)
    endless = tf.data.Dataset.from_tensor_slices(_images()).repeat()
    unequal = [np.zeros((8, 8, 1)), np.zeros((8, 9, 1))]
    for function in (lsrs_tf.certify, lsrs_tf.predict):
        for given, message in (
            (endless, "infinite"),
            (iter(_images()), "from_generator"),
            (unequal, "image 1 of shape"),
        ):
            with pytest.raises(ValueError, match=message):
                function(model, given, verbose=0)


def test_subclass_that_computes_something_else_is_refused():
    class Amplified(models.LatentSmoothingModel):
        def call(self, inputs, training=False):
            return super().call(100 * inputs, training=training)

    class OtherTraining(models.LatentSmoothingModel):
        def train_step(self, data):
            return super().train_step(data)

    parts = _model().encoder, _model().head
    for function in (
        lambda model: _certify(model, _images()),
        lambda model: lsrs_tf.lipschitz_bound(model),
    ):
        with pytest.raises(ValueError, match="Amplified changes `call`"):
            function(Amplified(*parts, 0.25))
        function(OtherTraining(*parts, 0.25))
    with pytest.raises(ValueError, match=r"needs a lsrs_tf\.models\.LatentSmoothingModel"):
        _certify(parts[0], _images())


def test_refusal_names_the_image():
    images = _images()
    images[4, 0, 0, 0] = 2
    with pytest.raises(ValueError, match="Image 4"):
        _certify(_model(), tf.data.Dataset.from_tensor_slices(images).batch(3))


def test_predict_gives_the_smoothed_label_or_abstains():
    model = threshold_model(0.5, 0.25)
    images = np.array([0.0, 0.2, 0.5, 0.8, 1.0], np.float32).reshape(-1, 1, 1, 1)
    labels = lsrs_tf.predict(model, images, n=1_000, verbose=0)
    np.testing.assert_array_equal(labels, [0, 0, -1, 1, 1])
    assert labels.dtype == np.int64
    with pytest.raises(ValueError, match="alpha"):
        lsrs_tf.predict(model, images, alpha=0, verbose=0)
    with pytest.raises(ValueError, match="n=0"):
        lsrs_tf.predict(model, images, n=0, verbose=0)


@pytest.mark.parametrize("kind", ["tie", "nan", "inf"])
def test_missing_votes_count_for_the_runner_up(kind):
    sigma = 0.25
    # 40 %, 50 % and 70 % of the samples vote for class 0, the others for none.
    for share, label in ((0.4, -1), (0.5, -1), (0.7, 0)):
        threshold = 0.5 - sigma * scipy.stats.norm.ppf(share)
        model = silent_model(threshold, sigma, kind)
        image = pixel(0.5)[np.newaxis]
        assert lsrs_tf.predict(model, image, verbose=0).tolist() == [label]
        counts = _certify(model, image, n=1_000).counts[0]
        np.testing.assert_allclose(counts, [1_000 * share, 0, 0], atol=60)


def test_sequential_method_answers_at_the_target_radii():
    model, images = _model(), _images()
    radii = [0.02, 0.2]
    result = _certify(model, images, n=2_000, method="sequential", target_radii=radii)
    assert set(result.radii) <= {0.0, *radii}
    np.testing.assert_array_equal(result.radii > 0, result.labels >= 0)
    np.testing.assert_array_equal(result.counts.sum(axis=1) + 20, result.samples)
    assert result.samples.max() <= 2_020 and result.samples.min() < 2_020
    fixed = _certify(model, images, n=2_000)
    np.testing.assert_array_equal(fixed.samples, 2_020)
    np.testing.assert_array_equal(fixed.selection_counts, result.selection_counts)
    order = [4, 1, 1, 0]
    again = _certify(model, images[order], n=2_000, method="sequential", target_radii=radii)
    np.testing.assert_array_equal(again.counts, result.counts[order])
    np.testing.assert_array_equal(again.labels, result.labels[order])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "adaptive"}, "fixed, sequential"),
        ({"method": "sequential"}, "needs `target_radii`"),
        ({"target_radii": 0.1}, "goes with `method='sequential'`"),
        ({"method": "sequential", "target_radii": -0.1}, "above 0"),
    ],
)
def test_methods_and_radii_must_go_together(arguments, message):
    with pytest.raises(ValueError, match=message):
        _certify(_model(), _images(), **arguments)


@pytest.mark.parametrize("noise", ["float32", "exact"])
def test_shared_noise_gives_counts_that_depend_on_image_and_seed_alone(noise):
    model, images = _model(), _images(5)
    result = _certify(model, images, images_per_draw=2, noise=noise)
    np.testing.assert_array_equal(result.counts.sum(axis=1), 300)
    for images_per_draw, batch_size in ((2, 50), (3, 64), (5, 256)):
        other = _certify(
            model, images, images_per_draw=images_per_draw, batch_size=batch_size, noise=noise
        )
        np.testing.assert_array_equal(other.counts, result.counts)
        np.testing.assert_array_equal(other.selection_counts, result.selection_counts)
    order = [4, 1, 1, 0]
    again = _certify(model, images[order], images_per_draw=2, noise=noise)
    np.testing.assert_array_equal(again.counts, result.counts[order])
    own = _certify(model, images, noise=noise)
    assert (own.counts != result.counts).any()
    assert (_certify(model, images, images_per_draw=2, seed=1, noise=noise).counts
            != result.counts).any()  # fmt: skip


def test_equal_images_get_equal_shared_noise_and_others_too():
    # One pixel against a threshold: with shared noise the votes are ordered as the pixels are.
    model = threshold_model(0.25, 0.25)
    pixels = np.linspace(0.2, 0.3, 6, dtype=np.float32).reshape(-1, 1, 1, 1)
    shared = _certify(model, pixels, images_per_draw=3, n=1_000).counts[:, 1]
    assert np.all(np.diff(shared) >= 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images_per_draw": 0}, "images_per_draw"),
        ({"images_per_draw": 300}, "at most `batch_size`"),
        ({"images_per_draw": 2, "method": "sequential", "target_radii": 0.1}, "method='fixed'"),
    ],
)
def test_images_per_draw_is_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        _certify(_model(), _images(), **arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"against": "second"}, "must be one of half, runner_up"),
        ({"against": "runner_up", "method": "sequential", "target_radii": 0.1}, "method='fixed'"),
        # Half of alpha is left for the class.
        ({"against": "runner_up", "n": 10}, "Use n=11"),
    ],
)
def test_what_a_class_is_held_against_is_checked(settings, message):
    images = np.zeros([1, 8, 8, 1], np.float32)
    with pytest.raises(ValueError, match=message):
        lsrs_tf.certify(models.convnet(width=4), images, verbose=0, **settings)


def test_predicting_with_too_few_samples_is_refused():
    with pytest.raises(ValueError, match="n=10 samples"):
        lsrs_tf.predict(_model(), _images(1), n=10, verbose=0)
    lsrs_tf.predict(_model(), _images(1), n=11, verbose=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1e-200}, "`alpha` must be at least 1e-100"),
        ({"n": 10**9 + 1}, "`n` must be .* at most 1000000000"),
        ({"n": 2**63}, "`n` must be .* at most 1000000000"),
    ],
)
def test_settings_that_would_fail_in_mid_run_are_refused(settings, message):
    def unread():
        raise AssertionError("an image was read")
        yield

    images = tf.data.Dataset.from_generator(
        unread, output_signature=tf.TensorSpec([8, 8, 1], tf.float32)
    )
    kinds = [
        {},
        {"against": "runner_up"},
        {"images_per_draw": 2},
        {"method": "sequential", "target_radii": 0.1},
        {"method": "sequential", "tolerance": 0.1},
    ]
    for kind in kinds:
        with pytest.raises(ValueError, match=message):
            lsrs_tf.certify(_model(), images, verbose=0, **kind, **settings)
    with pytest.raises(ValueError, match=message):
        lsrs_tf.predict(_model(), images, verbose=0, **settings)


def test_smallest_alpha_certifies():
    model = threshold_model(0.2, 0.25)
    image = np.ones((1, 1, 1, 1), np.float32)
    for kind in (
        {},
        {"against": "runner_up"},
        {"method": "sequential", "target_radii": 0.05},
        {"method": "sequential", "tolerance": 0.1},
    ):
        result = _certify(model, image, n=2_000, alpha=1e-100, **kind)
        assert result.labels == [1]
    assert lsrs_tf.predict(model, image, alpha=1e-100, verbose=0) == [1]
    assert lsrs_tf.recertify(_certify(model, image, n=2_000), 1e-100).labels == [1]
    with pytest.raises(ValueError, match="at least 1e-100"):
        lsrs_tf.recertify(_certify(model, image), 1e-200)
