import keras
import numpy as np
import pytest
import tensorflow as tf

from lsrs_tf import layers, models
from lsrs_tf.models.fingerprints import fingerprint
from tests.training import compiled


def _model(sigma=0.25):
    return models.convnet(orthogonal_layers=2, width=4, num_classes=3, sigma=sigma)


def _data(count=64):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, count)
    images = rng.uniform(0, 0.3, size=(count, 8, 8, 1)).astype(np.float32)
    images[np.arange(count), labels] += 0.6
    return images, labels


def test_encode_then_classify_is_the_call_without_noise():
    model, (images, _) = _model(), _data(4)
    expected = model.classify(model.encode(images))
    np.testing.assert_array_equal(model(images), expected)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)
    assert model.encode(images).shape == (4, 4, 4, 8)
    assert model.compute_output_shape((None, 8, 8, 1)) == (None, 3)


@pytest.mark.parametrize("sigma", [0.7, 3.0])
def test_training_adds_noise_of_the_right_size_to_the_latent(sigma):
    encoder = keras.Sequential([keras.Input((50, 50, 4)), keras.layers.Identity()])
    head = keras.Sequential([keras.Input((50, 50, 4)), keras.layers.Identity()])
    model = models.LatentSmoothingModel(encoder, head, sigma=sigma)
    noise = model(np.zeros((5, 50, 50, 4), np.float32), training=True).numpy()
    assert np.std(noise) == pytest.approx(sigma, rel=0.02)
    assert np.abs(np.mean(noise)) < 0.03 * sigma
    assert np.abs(noise[0] - noise[1]).max() > 0.1


def test_learns_with_plain_compile_and_fit():
    model, (images, labels) = compiled(_model(), 0.05), _data()
    before = fingerprint(model)
    kernel = model.encoder.layers[2].kernel
    kernel_before = np.array(kernel)
    model.fit(images, labels, epochs=20, batch_size=16, verbose=0)
    assert model.evaluate(images, labels, verbose=0, return_dict=True)["accuracy"] > 0.9
    assert fingerprint(model) != before
    assert np.abs(np.array(kernel) - kernel_before).max() > 1e-4


def test_file_round_trip_is_bit_equal_and_trains_on(tmp_path):
    model, (images, labels) = compiled(_model(), 0.05), _data()
    model.fit(images, labels, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.sigma == model.sigma
    assert fingerprint(loaded) == fingerprint(model)
    np.testing.assert_array_equal(loaded(images), model(images))
    loaded.fit(images, labels, epochs=1, verbose=0)


def test_frozen_encoder_is_the_models_own():
    model, (images, _) = _model(), _data(2)
    np.testing.assert_allclose(model.freeze_encoder()(images), model.encode(images), atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 4), (4, 4, 8), (8,), (64, 8)])
def test_head_of_other_latents_is_refused(shape):
    encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.OrthogonalConv2D(8, 3)])
    head = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"output shape is \(None, 8, 8, 8\), and a head"):
        models.LatentSmoothingModel(encoder, head, sigma=0.25)


def test_heads_of_unknown_sizes_are_accepted():
    encoder = keras.Sequential([keras.Input((8, 8, 1)), layers.OrthogonalConv2D(8, 3)])
    tail = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    for head in (
        keras.Sequential([keras.Input((None, None, 8)), *tail]),
        keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)]),
        keras.layers.Dense(3),
    ):
        model = models.LatentSmoothingModel(encoder, head, sigma=0.25)
        assert model(np.zeros((2, 8, 8, 1), np.float32)).shape[-1] == 3


@pytest.mark.parametrize(
    "sigma", [-1.0, -1e-300, 1e-60, np.nan, np.inf, 1e39, None, [0.1], "0.5", True]
)
def test_impossible_sigma_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma"):
        models.LatentSmoothingModel(layers.GroupSort(), keras.layers.Dense(2), sigma)


def test_parts_that_are_no_layers_are_refused():
    with pytest.raises(ValueError, match="encoder"):
        models.LatentSmoothingModel(lambda x: x, keras.layers.Dense(2), 0.25)
    with pytest.raises(ValueError, match="head"):
        models.LatentSmoothingModel(layers.GroupSort(), None, 0.25)


def _fresh(tmp_path):
    return _model()


def _trained(tmp_path):
    model = compiled(_model(), 0.05)
    model.fit(*_data(16), verbose=0)
    return model


def _loaded(tmp_path):
    _trained(tmp_path).save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


def _cloned(tmp_path):
    return keras.models.clone_model(_trained(tmp_path))


def _built_by_its_first_call(tmp_path):
    encoder = keras.Sequential([layers.OrthogonalConv2D(2, 3), layers.GroupSort()])
    head = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    model = models.LatentSmoothingModel(encoder, head, 0.25)
    assert not model.built
    model(_data(2)[0])
    return model


def _built_by_hand(tmp_path):
    encoder = keras.Sequential([layers.OrthogonalConv2D(2, 3), layers.GroupSort()])
    head = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    model = models.LatentSmoothingModel(encoder, head, 0.25)
    model.build((None, 8, 8, 1))
    return model


def _of_plain_layers(tmp_path):
    encoder, head = layers.OrthogonalConv2D(2, 8), keras.layers.Flatten()
    head(encoder(_data(2)[0]))
    return models.LatentSmoothingModel(encoder, head, 0.25)


@pytest.mark.parametrize(
    "make",
    [
        _fresh,
        _trained,
        _loaded,
        _cloned,
        _built_by_its_first_call,
        _built_by_hand,
        _of_plain_layers,
    ],
)
def test_keras_exports_the_base_classifier(tmp_path, make):
    model, (images, _) = make(tmp_path), _data(5)
    # Before anything is called.
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    for count in (1, 5):
        np.testing.assert_allclose(
            served.serve(images[:count]), model(images[:count]), atol=2e-6, rtol=1e-5
        )
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(served.serve(images), expected, atol=2e-6, rtol=1e-5)


def _converted(model):
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    interpreter = tf.lite.Interpreter(model_content=content)

    def logits(images):
        (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(given["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return logits


@pytest.mark.parametrize("make", [_fresh, _trained, _loaded])
def test_tensorflow_lite_converts_the_base_classifier(tmp_path, monkeypatch, make):
    monkeypatch.setattr(
        "tests.lsrs_tf.models.test_latent_smoothing._model",
        lambda: models.convnet(width=4, num_classes=3, parametrization="aol"),
    )
    model, (images, _) = make(tmp_path), _data(5)
    logits = _converted(model)
    np.testing.assert_allclose(logits(images), model(images), atol=1e-5)


def test_tensorflow_lite_converts_the_frozen_encoder_with_the_head():
    model, (images, _) = _model(), _data(5)
    inputs = keras.Input(model.encoder.input_shape[1:])
    latents = keras.ops.cast(model.freeze_encoder()(inputs), "float32")
    frozen = keras.Model(inputs, model.head(latents))
    np.testing.assert_allclose(frozen(images), model(images), atol=1e-5)
    converter = tf.lite.TFLiteConverter.from_keras_model(frozen)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    # The interpreter of the wheel has no such operations, so that it is not run here.
    assert converter.convert()


def test_subclasses_may_add_layers_after_the_constructor(tmp_path):
    class WithTeacher(models.LatentSmoothingModel):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            self.teacher = keras.layers.Dense(3)
            self.distance = keras.metrics.Mean("distance")

    parts = _model().encoder, _model().head
    model = WithTeacher(*parts, 0.25)
    model.export(tmp_path / "exported", verbose=False)
    assert tf.saved_model.load(tmp_path / "exported").serve(_data(2)[0]).shape == (2, 3)


def test_model_of_half_precision_predicts_where_another_policy_is_set(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = _model()
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images, _ = _data(4)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model(images))


def test_one_replica_draws_the_noise_of_keras():
    model = _model()
    keras.utils.set_random_seed(1)
    ours = models.LatentSmoothingModel(model.encoder, model.head, 0.25).noise
    keras.utils.set_random_seed(1)
    theirs = keras.layers.GaussianNoise(1.0)
    for _ in range(2):
        noise = ours(tf.zeros([2, 3]), training=True)
        np.testing.assert_array_equal(noise, theirs(tf.zeros([2, 3]), training=True))
