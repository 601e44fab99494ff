import keras
import numpy as np
import pytest

import lsrs_tf
from lsrs_tf.attacks.attacked_base import AttackedBase
from tests.lsrs_tf.attacks.victims import (
    dense_model,
    exact_distances,
    gray_images,
    linear_model,
    model_of_head,
)

# L-BFGS takes one image at a time.
_STEPS = {"lbfgs": 15}
MINIMUM_NORM = ("ddn", "fmn", "deepfool", "carlini_wagner", "lbfgs")


def _attack(model, images, labels, **options):
    return lsrs_tf.attack(model, images, labels, verbose=0, **options)


@pytest.mark.parametrize("method", MINIMUM_NORM)
def test_distance_to_a_hyperplane_is_found_within_one_percent(method):
    model, weights, biases = linear_model()
    images = gray_images(3)
    labels, distances = exact_distances(images, weights, biases)
    result = _attack(model, images, labels, method=method, steps=_STEPS.get(method))
    exact = distances.min(axis=1)
    assert np.all(result.distances >= exact * (1 - 1e-6))
    assert np.all(result.distances <= 1.01 * exact)
    np.testing.assert_array_equal(result.labels, 1 - labels)
    # The distances are those of the images that are returned.
    changes = (result.images.astype(np.float64) - images).reshape(len(images), -1)
    np.testing.assert_allclose(np.linalg.norm(changes, axis=1), result.distances, rtol=1e-12)


@pytest.mark.parametrize("method", MINIMUM_NORM)
def test_targets_are_reached(method):
    model, weights, biases = linear_model(num_classes=3)
    images = gray_images(2)
    labels, distances = exact_distances(images, weights, biases)
    targets = (labels + 1) % 3
    steps = _STEPS.get(method)
    result = _attack(model, images, labels, method=method, targets=targets, steps=steps)
    np.testing.assert_array_equal(result.labels, targets)
    # The target also has to pass the third class.
    assert np.all(result.distances >= distances[np.arange(2), targets] * (1 - 1e-6))


def test_pgd_stays_within_its_radius():
    model, weights, biases = linear_model()
    images = gray_images(6)
    labels, distances = exact_distances(images, weights, biases)
    exact = distances.min(axis=1)
    radius = float(np.sort(exact)[2] * 1.05)
    result = _attack(model, images, labels, method="pgd", radius=radius, restarts=2)
    np.testing.assert_array_equal(np.isfinite(result.distances), exact < radius)
    assert np.all(result.distances[np.isfinite(result.distances)] <= radius)
    lost = np.isinf(result.distances)
    np.testing.assert_array_equal(result.images[lost], images[lost])


def test_images_stay_in_the_box_and_count_for_the_certified_classifier_only():
    model = dense_model()
    images = np.random.default_rng(0).uniform(0, 1, (6, 4, 4, 1)).astype(np.float32).round(1)
    attacked = AttackedBase(model)
    labels = np.array([attacked.answer(image) for image in images])
    for method in ("ddn", "carlini_wagner"):
        result = _attack(model, images, labels, method=method, steps=30)
        assert result.images.min() >= 0
        assert result.images.max() <= 1
        assert [attacked.answer(image) for image in result.images] == result.labels.tolist()
        found = np.isfinite(result.distances)
        assert found.any()
        np.testing.assert_array_equal(result.labels[found] != labels[found], True)


def test_a_seed_gives_one_result():
    model = dense_model()
    images = gray_images(3)
    labels = [AttackedBase(model).answer(image) for image in images]
    first, second = (
        _attack(model, images, labels, method="fmn", steps=20, restarts=2, seed=5) for _ in range(2)
    )
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.distances, second.distances)


def test_images_that_are_wrong_already_have_distance_zero():
    model, weights, biases = linear_model()
    images = gray_images(3)
    labels, _ = exact_distances(images, weights, biases)
    labels[1] = 1 - labels[1]
    result = _attack(model, images, labels, steps=30)
    assert result.wrong_already.tolist() == [False, True, False]
    assert result.distances[1] == result.changed_distances[1] == 0
    np.testing.assert_array_equal(result.images[1], images[1])
    assert "1 wrong already" in repr(result)


@keras.saving.register_keras_serializable("tests")
class _Broken(keras.layers.Layer):
    """Divides 0 by 0 in the gradient, at mid-gray only or everywhere."""

    def __init__(self, everywhere, **kwargs):
        super().__init__(**kwargs)
        self._everywhere = everywhere

    def call(self, inputs):
        center = keras.ops.stop_gradient(inputs) if self._everywhere else 0.5
        # The root of 0 has a value, but no finite gradient.
        return inputs + 1e-20 * keras.ops.sqrt(keras.ops.square(inputs - center))


def test_gradients_that_are_nan_at_the_image_are_restarted():
    model = model_of_head(_Broken(everywhere=False), keras.layers.Dense(2))
    images = np.full((2, 4, 4, 1), 0.5, np.float32)
    labels = [AttackedBase(model).answer(image) for image in images]
    result = _attack(model, images, labels, method="deepfool")
    assert np.all(np.isfinite(result.distances))
    assert result.notes == ["", ""]


def test_gradients_that_are_nan_everywhere_give_a_note_and_no_distance():
    model = model_of_head(_Broken(everywhere=True), keras.layers.Dense(2))
    images = gray_images(2)
    labels = [AttackedBase(model).answer(image) for image in images]
    for method in ("ddn", "fmn", "deepfool", "carlini_wagner", "lbfgs"):
        result = _attack(model, images, labels, method=method, steps=3)
        assert np.all(np.isinf(result.distances))
        assert all("not finite" in note for note in result.notes)
        np.testing.assert_array_equal(result.images, images)


class _Rounded(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.cast(keras.ops.cast(8 * inputs, "int32"), "float32")


def test_an_operation_without_gradient_is_named():
    model = model_of_head(_Rounded(), keras.layers.Dense(2))
    image = gray_images(1)
    with pytest.raises(ValueError, match=r"operation Cast .* passes none back"):
        _attack(model, image, [AttackedBase(model).answer(image[0])])


def test_invalid_arguments_are_refused():
    model, _, _ = linear_model()
    images = gray_images(2)
    for options, message in (
        ({"method": "newton"}, "`method` must be one of pgd"),
        ({"classifier": "other"}, "`classifier` must be base or smoothed"),
        ({"method": "pgd"}, "needs a `radius` above 0"),
        ({"method": "pgd", "radius": 0.0}, "needs a `radius` above 0"),
        ({"radius": 0.5}, "looks for the nearest image"),
        ({"n": 500}, "`n` belongs to classifier='smoothed'; the base .* Received: n=500"),
        ({"alpha": 0.01}, "`alpha` belongs to classifier='smoothed'.* Received: alpha=0.01"),
        ({"draws": 64}, "`draws` belongs to classifier='smoothed'.* Received: draws=64"),
        ({"steps": 0}, "`steps` must be"),
        ({"restarts": 0}, "`restarts` must be"),
        ({"targets": [0, 1]}, "target of image 0 is its label"),
        ({"targets": [2, 1]}, "`targets` must be classes from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            _attack(model, images, [0, 0], **options)
    for labels, message in (
        (None, "Received: None"),
        ([0], "one whole number for each of 2"),
        ([0.5, 0.5], "one whole number"),
        ([0, -1], "from 0 to 1. Received: -1 for image 1"),
        ([0, 2], "Received: 2"),
    ):
        with pytest.raises(ValueError, match=message):
            _attack(model, images, labels)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        _attack(model, images + 1, [0, 0])
