import keras
import numpy as np
import pytest
import tensorflow as tf

import lsrs_tf
from lsrs_tf import models
from lsrs_tf.callbacks import CertifiedAccuracy


def _data(count):
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=count)
    images = 0.2 * rng.uniform(size=(count, 8, 8, 1)) + 0.6 * labels.reshape(-1, 1, 1, 1)
    return images.astype(np.float32), labels


def test_reports_what_certify_certifies():
    images, labels = _data(64)
    model = models.convnet(width=4, num_classes=2, sigma=0.25)
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    callback = CertifiedAccuracy(images[:10], labels[:10], [0.1, 0.3], every_epochs=2)
    history = model.fit(images, labels, epochs=4, verbose=0, callbacks=[callback]).history
    assert len(history["certified_accuracy_0.1"]) == len(history["certified_accuracy_0.3"]) == 2
    result = lsrs_tf.certify(
        model, images[:10], n=1_000, method="sequential", target_radii=[0.1, 0.3], verbose=0
    )
    for radius in (0.1, 0.3):
        certified = (result.labels == labels[:10]) & (result.radii >= radius)
        assert history[f"certified_accuracy_{radius}"][-1] == certified.mean()
    assert history["certified_accuracy_0.1"][-1] > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": np.zeros(3)}, "one label for each image"),
        ({"radii": -1.0}, "above 0"),
        ({"n": 0}, "n=0"),
        ({"n": 9}, "Use n=10"),
        ({"alpha": 1e-200}, "at least 1e-100"),
        ({"seed": 0.5}, "seed"),
        ({"every_epochs": 0}, "every_epochs"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    images, labels = _data(4)
    with pytest.raises(ValueError, match=message):
        CertifiedAccuracy(**{"images": images, "labels": labels, "radii": 0.1, **arguments})


def test_takes_images_as_certify_does():
    images, labels = _data(6)
    model = models.convnet(width=4, num_classes=2, sigma=0.25)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    logs = [{} for _ in range(4)]
    for given, log in zip((images, list(images), dataset, dataset.batch(4)), logs, strict=True):
        callback = CertifiedAccuracy(given, labels, 0.05)
        callback.set_model(model)
        callback.on_epoch_end(0, log)
    assert len(logs[0]) == 1 and all(log == logs[0] for log in logs)


def test_labels_that_do_not_match_batches_are_noticed_when_they_are_read():
    images, labels = _data(6)
    batches = tf.data.Dataset.from_tensor_slices(images).batch(4)
    callback = CertifiedAccuracy(batches, labels[:5], 0.05)
    callback.set_model(models.convnet(width=4, num_classes=2, sigma=0.25))
    with pytest.raises(ValueError, match="6 images, labels of shape"):
        callback.on_epoch_end(0, {})


def test_images_without_an_end_are_refused_at_once():
    images, labels = _data(4)
    for given in (iter(images), tf.data.Dataset.from_tensor_slices(images).repeat()):
        with pytest.raises(ValueError, match="come to an end"):
            CertifiedAccuracy(given, labels, 0.1)


def test_margins_are_reported_for_a_model_without_noise():
    model = models.orthogonal_convnet(width=4, depth=1, num_classes=3, input_shape=(8, 8, 1))
    model.compile("sgd", lsrs_tf.losses.OffsetCrossentropy(offset=0.5))
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(size=(12, 8, 8, 1)).astype(np.float32), np.arange(12) % 3
    report = CertifiedAccuracy(images, labels, [1e-4], method="margin")
    history = model.fit(images, labels, epochs=1, verbose=0, callbacks=[report]).history
    result = lsrs_tf.certify(model, images, method="margin", verbose=0)
    expected = np.mean((result.labels == labels) & (result.radii > 1e-4))
    assert history["certified_accuracy_0.0001"] == [expected]
