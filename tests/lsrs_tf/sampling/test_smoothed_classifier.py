import textwrap

import keras
import numpy as np
import pytest

from lsrs_tf import models
from lsrs_tf.certification.certifier import Certifier
from lsrs_tf.sampling import random_streams
from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier
from tests.commands import run_code


def _image(seed=0):
    return np.random.default_rng(seed).uniform(size=(8, 8, 1)).astype(np.float32)


def test_counts_are_those_of_the_head_on_the_noisy_latent():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    classifier = SmoothedClassifier(model, batch_size=64)
    image = _image()
    requests = [(random_streams.ESTIMATION, 500)]
    (counts,) = classifier.count(image, classifier.encode(image), requests, seed=3)
    latent = model.freeze_encoder()(image[np.newaxis]).numpy()[0].astype(np.float32)
    stream = random_streams.stream(3, image, random_streams.ESTIMATION)
    draws = random_streams.standard_normal(stream, 0, 500, latent.shape).numpy()
    labels = model.classify(latent + np.float32(0.5) * draws).numpy().argmax(axis=1)
    # A vote on the very boundary may fall to either side in a batch of another size.
    assert np.abs(counts - np.bincount(labels, minlength=3)).sum() <= 2


def test_compiled_by_xla_it_counts_the_same_but_for_rounding():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    requests = [(random_streams.SELECTION, 50), (random_streams.ESTIMATION, 500)]
    image, counts = _image(), []
    for jit_compile in (False, True):
        classifier = SmoothedClassifier(model, jit_compile=jit_compile)
        counts.append(classifier.count(image, classifier.encode(image), requests, seed=0))
    plain, compiled = counts
    for left, right in zip(plain, compiled, strict=True):
        assert left.sum() == right.sum()
        assert np.abs(left - right).sum() <= 4


def test_clean_label_is_that_of_the_base_classifier():
    model = models.convnet(width=4, num_classes=3, sigma=0.5)
    classifier = SmoothedClassifier(model)
    images = [_image(seed) for seed in range(5)]
    labels = [classifier.clean_label(classifier.encode(image)) for image in images]
    assert labels == model(np.stack(images)).numpy().argmax(axis=1).tolist()
    model.head.layers[-1].set_weights([w * 0 for w in model.head.layers[-1].get_weights()])
    assert SmoothedClassifier(model).clean_label(classifier.encode(images[0])) == -1


TWO_DEVICES = textwrap.dedent(
    """
    import sys
    import keras, numpy as np, tensorflow as tf
    import lsrs_tf
    from lsrs_tf import models

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    images = np.load(sys.argv[2])
    settings = {"n0": 30, "n": 500, "alpha": 0.01, "batch_size": 64, "verbose": 0}
    kinds = [{}, {"images_per_draw": 3}, {"noise": "exact"},
             {"method": "sequential", "target_radii": [0.05, 0.2]},
             {"method": "sequential", "tolerance": 0.1}]

    def results():
        model = keras.models.load_model(sys.argv[1])
        return [lsrs_tf.certify(model, images, **settings, **kind) for kind in kinds]

    alone = results()
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        together = results()
    for left, right in zip(alone, together):
        np.testing.assert_array_equal(left.counts, right.counts)
        np.testing.assert_array_equal(left.selection_counts, right.selection_counts)
        np.testing.assert_array_equal(left.radii, right.radii)
        np.testing.assert_array_equal(left.samples, right.samples)
        assert left.counts.sum() > 0

    # Trained in the scope, statistics of batch normalization differ between the replicas.
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = models.convnet(width=4, num_classes=3, sigma=0.5)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        halves = np.concatenate([np.zeros([8, 8, 8, 1]), np.ones([8, 8, 8, 1])])
        model.fit(halves, np.arange(16) % 3, batch_size=16, shuffle=False, verbose=0)
        try:
            lsrs_tf.certify(model, images, **settings)
        except ValueError as error:
            assert "differs between the replicas" in str(error), error
        else:
            raise AssertionError("votes of two heads were added up")
    """
)


@pytest.mark.slow
def test_two_devices_count_what_one_counts(tmp_path):
    models.convnet(width=4, num_classes=3, sigma=0.5).save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", np.stack([_image(seed) for seed in range(5)]))
    arguments = [str(tmp_path / "model.keras"), str(tmp_path / "images.npy")]
    ended = run_code(TWO_DEVICES, *arguments)
    assert ended.returncode == 0, ended.stderr


def test_identity_encoder_smooths_input_space():
    model = models.convnet(orthogonal_layers=0, width=4, sigma=0.3)
    classifier = SmoothedClassifier(model)
    assert classifier.radius_scale.lipschitz == 1.0
    assert classifier.latent_shape == classifier.image_shape == (8, 8, 1)
    image = _image()
    np.testing.assert_array_equal(classifier.encode_in_graph(image), image)


def test_unknown_image_size_is_refused():
    images = keras.Input((None, None, 1))
    encoder = keras.Model(images, keras.layers.Identity()(images))
    head = keras.Sequential(
        [
            keras.Input((None, None, 1)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    with pytest.raises(ValueError, match="size"):
        SmoothedClassifier(models.LatentSmoothingModel(encoder, head, 0.25))


@keras.saving.register_keras_serializable("tests")
class _MixesRows(keras.layers.Layer):
    def call(self, inputs):
        return inputs + keras.ops.mean(inputs, axis=0, keepdims=True)


def test_heads_that_mix_rows_or_do_not_fit_are_refused():
    encoder = models.convnet(width=4, num_classes=3).encoder
    mixing = keras.Sequential(
        [keras.Input((4, 4, 8)), keras.layers.Flatten(), _MixesRows(), keras.layers.Dense(3)]
    )
    with pytest.raises(ValueError, match="what else is in the batch"):
        SmoothedClassifier(models.LatentSmoothingModel(encoder, mixing, 0.25))
    # A layer, unlike a model, does not say which shape it takes.
    other = keras.layers.Dense(3)
    other.build((None, 2, 2, 5))
    with pytest.raises(ValueError, match=r"latents of shape \(4, 4, 8\)"):
        SmoothedClassifier(models.LatentSmoothingModel(encoder, other, 0.25))


@keras.saving.register_keras_serializable("tests")
class _MixesRowsOfSomeBatches(keras.layers.Layer):
    def call(self, inputs):
        return inputs[::-1] if inputs.shape[0] == 255 else inputs


def test_rows_are_checked_in_the_batches_that_are_sampled():
    encoder = models.convnet(width=4, num_classes=3).encoder
    mixing = keras.Sequential(
        [
            keras.Input((4, 4, 8)),
            keras.layers.Flatten(),
            _MixesRowsOfSomeBatches(),
            keras.layers.Dense(3),
        ]
    )
    model = models.LatentSmoothingModel(encoder, mixing, 0.25)
    Certifier(model)
    Certifier(model, images_per_draw=2)
    for settings in ({"batch_size": 255}, {"images_per_draw": 3}):
        with pytest.raises(ValueError, match="what else is in the batch"):
            Certifier(model, **settings)


def test_lambda_layers_have_no_bound():
    inputs = keras.Input((8, 8, 1))
    encoder = keras.Model(inputs, keras.layers.Lambda(lambda images: 2 * images)(inputs))
    head = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="No Lipschitz bound is known for layer 'lambda"):
        SmoothedClassifier(models.LatentSmoothingModel(encoder, head, 0.25))
