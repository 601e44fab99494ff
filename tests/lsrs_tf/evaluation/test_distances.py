import keras
import numpy as np
import pytest

import lsrs_tf
from lsrs_tf import layers, models
from lsrs_tf.evaluation import distance_report

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(12, 4, 4, 1))
LARGER = RNG.uniform(size=(12, 8, 8, 1))
LABELS = np.arange(12) % 3


def test_isometries_keep_everything_layer_by_layer():
    encoder = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.InvertibleDownsampling(2),
            layers.OrthogonalConv2D(4, 1),
            layers.Standardization(0.5, 2.0),
        ]
    )
    report = distance_report(encoder, IMAGES, LABELS)
    assert [row.name for row in report.rows] == [layer.name for layer in encoder.layers]
    for row, kept in zip(report.rows, [1, 1, 0.5], strict=True):
        assert row.between_classes == pytest.approx(kept, abs=1e-5)
        assert row.smallest_between_classes == pytest.approx(kept, abs=1e-5)
        assert row.perturbations == pytest.approx(kept, abs=1e-4)
        assert row.smallest_perturbation == pytest.approx(kept, abs=1e-4)
    assert report.whole is report.rows[-1]
    assert report.pairs == 12


def test_shares_are_ratios_of_distances():
    # The mean of a picture: what is left of a difference is known.
    encoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.GlobalAveragePooling2D()])
    images = np.zeros((2, 4, 4, 1))
    images[1] += 0.5
    report = distance_report(encoder, images, [0, 1], perturbation=0.01, batch_size=1)
    # 0.5 of 0.5 * sqrt(16).
    assert report.whole.between_classes == pytest.approx(0.25, abs=1e-6)
    assert 0 < report.whole.perturbations < 0.25


def test_functional_encoders_and_models_have_rows_for_all_layers():
    model = models.convnet(width=2, input_shape=(8, 8, 1))
    report = distance_report(model, LARGER, LABELS)
    assert [row.name for row in report.rows] == [layer.name for layer in model.encoder.layers[1:]]
    again = distance_report(model.encoder, LARGER, LABELS, batch_size=5)
    assert report.whole.between_classes == pytest.approx(again.whole.between_classes, rel=1e-5)
    largest = lsrs_tf.lipschitz_bound(model)
    for row in report.rows:
        assert 0 < row.smallest_between_classes <= row.between_classes <= largest + 1e-5
        assert 0 < row.smallest_perturbation <= row.perturbations <= largest + 1e-4
    assert "not proven" in str(report) and "conv2_sort" in repr(report)


def test_other_encoders_have_one_row():
    class Half(keras.layers.Layer):
        def call(self, inputs):
            return inputs / 2

    (row,) = distance_report(Half(name="half"), IMAGES, LABELS).rows
    assert row.name == "half"
    assert row.between_classes == pytest.approx(0.5, abs=1e-6)


def test_callback_reports_in_the_logs():
    model = models.convnet(width=2, input_shape=(8, 8, 1), num_classes=3)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = lsrs_tf.callbacks.KeptDistances(LARGER, LABELS, every_epochs=2)
    history = model.fit(LARGER, LABELS, epochs=2, verbose=0, callbacks=[callback]).history
    (kept,) = history["kept_between_classes"]
    assert kept == pytest.approx(distance_report(model, LARGER, LABELS).whole.between_classes)
    assert len(history["kept_perturbations"]) == 1


@pytest.mark.parametrize(
    ("images", "labels", "arguments", "message"),
    [
        (IMAGES, LABELS[:-1], {}, "one label for each"),
        (IMAGES, np.zeros(12), {}, "at least two classes"),
        (np.zeros((2, 4, 4, 1)), [0, 1], {}, "Two equal images.*class 0"),
        (IMAGES, LABELS, {"perturbation": 0.0}, "`perturbation` of distance_report"),
        (IMAGES, LABELS, {"batch_size": 0}, "`batch_size` of distance_report"),
    ],
)
def test_bad_input_is_refused(images, labels, arguments, message):
    with pytest.raises(ValueError, match=message):
        distance_report(keras.layers.Identity(), images, labels, **arguments)
