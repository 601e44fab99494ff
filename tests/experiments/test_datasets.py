import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from experiments import datasets, image_preparation

# Real images, where they happen to be prepared.
DATA_DIR = pathlib.Path(__file__).parents[2].parent / "shared" / "tensorflow_datasets"


def test_digits_are_split_once_and_for_all():
    data = datasets.load("digits")
    assert (data.num_train, data.num_test, data.image_shape) == (1437, 360, (8, 8, 1))
    images, labels = zip(*data.test(None).as_numpy_iterator(), strict=True)
    images = np.array(images)
    assert images.shape == (360, 8, 8, 1)
    assert images.dtype == np.float32
    assert images.min() == 0
    assert images.max() == 1
    np.testing.assert_allclose(np.bincount(labels), 36, atol=1)
    train = np.concatenate([batch for batch, _ in data.training(64, 0).as_numpy_iterator()])
    assert len(train) == 1437
    known = {image.tobytes() for image in train}
    # Two scans of scikit-learn's set may be equal; a leak would be all of them.
    assert sum(image.tobytes() in known for image in images) < 4


def test_test_images_are_found_by_index():
    data = datasets.load("digits")
    everything = list(data.test(None).as_numpy_iterator())
    for index, (image, label) in zip(
        [3, 100, 359], data.test([3, 100, 359]).as_numpy_iterator(), strict=True
    ):
        np.testing.assert_array_equal(image, everything[index][0])
        assert label == everything[index][1]
    assert not list(data.test([]))


def test_training_order_is_new_every_epoch_and_set_by_the_seed():
    data = datasets.load("digits")

    def epochs(seed):
        train = data.training(1437, seed)
        return [next(train.as_numpy_iterator())[1] for _ in range(2)]

    first, second = epochs(0)
    assert (first != second).any()
    np.testing.assert_array_equal(first, epochs(0)[0])
    assert (first != epochs(1)[0]).any()


def test_missing_data_says_where_it_looked_and_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}.*--data_dir.*--download"):
        datasets.load("cifar10", str(tmp_path))


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match="mnist.*digits"):
        datasets.load("mnist")


@pytest.mark.skipif(not (DATA_DIR / "cifar10").is_dir(), reason="CIFAR-10 is not prepared here")
def test_cifar10_is_cropped_and_flipped_for_training_only():
    data = datasets.load("cifar10", str(DATA_DIR))
    assert (data.num_train, data.num_test) == (50_000, 10_000)
    images, labels = next(data.training(16, 0).as_numpy_iterator())
    assert images.shape == (16, 32, 32, 3)
    assert images.min() >= 0
    assert images.max() <= 1
    assert labels.dtype == np.int64
    first, again = (next(data.test([5]).as_numpy_iterator())[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (32, 32, 3)
    assert 0.5 < first.max() <= 1


@pytest.mark.slow
@pytest.mark.skipif(not (DATA_DIR / "cifar10").is_dir(), reason="CIFAR-10 is not prepared here")
def test_other_augmentations_stay_images():
    for arguments in ({"crop_padding": "reflect"}, {"rand_augment": 0.5}):
        data = datasets.load("cifar10", str(DATA_DIR), **arguments)
        images, _ = next(data.training(16, 0).as_numpy_iterator())
        assert images.shape == (16, 32, 32, 3)
        assert 0 <= images.min() < images.max() <= 1


def test_reflected_crops_have_no_border():
    image = tf.fill([32, 32, 3], tf.constant(255, tf.uint8))
    crops = {
        mode: np.array([image_preparation.cropped_and_flipped(image, mode) for _ in range(8)])
        for mode in ("CONSTANT", "REFLECT")
    }
    assert crops["REFLECT"].min() == 1
    assert crops["CONSTANT"].min() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_padding": "reflect"}, "digits are not padded.*--crop_padding"),
        ({"rand_augment": 0.5}, "digits are not augmented.*--rand_augment"),
    ],
)
def test_augmentations_that_a_data_set_lacks_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("digits", **arguments)


@pytest.mark.skipif(not (DATA_DIR / "imagenette").is_dir(), reason="no Imagenette here")
def test_imagenette_has_one_size():
    data = datasets.load("imagenette", str(DATA_DIR))
    assert len(data.class_names) == 10
    for images, _ in (next(data.training(2, 0).as_numpy_iterator()),):
        assert images.shape == (2, 224, 224, 3)
        assert images.min() >= 0
        assert images.max() <= 1
    image, _ = next(data.test([1]).as_numpy_iterator())
    assert image.shape == (224, 224, 3)


@pytest.mark.skipif(not (DATA_DIR / "imagenette").is_dir(), reason="no Imagenette here")
def test_small_imagenette_is_the_centre_of_the_same_images():
    small, large = (datasets.load(name, str(DATA_DIR)) for name in ("imagenette64", "imagenette"))
    assert (small.num_train, small.num_test) == (large.num_train, large.num_test)
    image, label = next(small.test([1]).as_numpy_iterator())
    assert image.shape == (64, 64, 3) and image.min() >= 0 and image.max() <= 1
    other, other_label = next(large.test([1]).as_numpy_iterator())
    assert label == other_label
    # 64 of 72 and 224 of 256 pixels are nearly the same part of the image.
    assert np.abs(tf.image.resize(other, (64, 64), antialias=True) - image).mean() < 0.03
    np.testing.assert_array_equal(image * 255, np.round(image * 255))


def test_fingerprint_is_that_of_the_prepared_images():
    data = datasets.load("digits")
    assert data.fingerprint() == datasets.load("digits").fingerprint()
    assert len(data.fingerprint()) == 16
    darker = dataclasses.replace(
        data,
        test=lambda indices: data.test(indices).map(lambda image, label: (image * 0.5, label)),
    )
    assert darker.fingerprint() != data.fingerprint()


def test_fingerprint_of_an_image_is_that_of_its_bits():
    image = np.random.default_rng(0).random((3, 4, 2), np.float32)
    first = datasets.fingerprint_of(image)
    assert len(first) == 16
    assert first == datasets.fingerprint_of(np.asfortranarray(image))
    assert first != datasets.fingerprint_of(image.reshape(4, 3, 2))
    other = image.copy()
    other[2, 3, 1] = np.nextafter(other[2, 3, 1], np.float32(1))
    assert first != datasets.fingerprint_of(other)


def test_nothing_is_read_behind_the_last_index():
    data = tf.data.Dataset.range(10**9)
    assert [int(index) for index in datasets._at(data, [3, 5])] == [3, 5]
