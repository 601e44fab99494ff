import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from lsrs_tf.certification import images

SHAPE = (2, 3, 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, tf.bfloat16.as_numpy_dtype])
def test_floating_point_images_become_float32(dtype):
    image = images.checked_image(np.full(SHAPE, 0.5, dtype), SHAPE, 0)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, 0.5)


def test_both_ends_of_the_range_are_inside():
    for value in (0.0, 1.0):
        images.checked_image(np.full(SHAPE, value), SHAPE, 0)


@pytest.mark.parametrize("value", [np.nextafter(np.float32(1), np.float32(2)), -1e-30])
def test_next_numbers_are_outside(value):
    with pytest.raises(ValueError, match="outside"):
        images.checked_image(np.full(SHAPE, value, np.float32), SHAPE, 0)


def test_double_that_float32_rounds_into_the_range_is_that_image():
    images.checked_image(np.full(SHAPE, 1 + 1e-12), SHAPE, 0)


class _Batches(keras.utils.PyDataset):
    """Images in batches of two, in every way in which a data set may give them."""

    def __init__(self, images, element=lambda batch: batch, **keywords):
        super().__init__(**keywords)
        self._images = images
        self._element = element

    def __len__(self):
        return -(-len(self._images) // 2)

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(f"batch {index} was read")
        return self._element(self._images[2 * index : 2 * index + 2])


class _Endless(_Batches):
    """As iterators of `ImageDataGenerator.flow`: its items end, but not its iterator."""

    def __iter__(self):
        while True:
            yield self[0]


class _WithoutLength(keras.utils.PyDataset):
    def __getitem__(self, index):
        raise AssertionError("a batch was read")


class _Infinite(_WithoutLength):
    num_batches = None


class _Sized:
    """A sized iterable without items, as data loaders are."""

    def __init__(self, images):
        self._images = images

    def __len__(self):
        return len(self._images)

    def __iter__(self):
        yield from self._images
        raise AssertionError("more was read than there is")


def _five():
    return np.random.default_rng(0).uniform(size=(5, *SHAPE)).astype(np.float32)


def _flow(images):
    generator = keras.src.legacy.preprocessing.image.ImageDataGenerator()
    return generator.flow(images, np.arange(len(images)), batch_size=2, shuffle=False)


_slices = tf.data.Dataset.from_tensor_slices

WAYS = {
    "array": lambda images: images,
    "float64": lambda images: images.astype(np.float64),
    "tensor": tf.constant,
    "variable": tf.Variable,
    "keras variable": keras.Variable,
    "list": list,
    "tuple": tuple,
    "list of tensors": lambda images: [tf.constant(image) for image in images],
    "list of lists": lambda images: images.tolist(),
    "array of objects": lambda images: _objects(images),
    "dataset": _slices,
    "batches": lambda images: _slices(images).batch(2),
    "pairs": lambda images: _slices((images, np.arange(5))),
    "batches of pairs": lambda images: _slices((images, np.arange(5))).batch(2),
    "dictionaries": lambda images: _slices({"image": images, "label": np.arange(5)}),
    "batches of dictionaries": lambda images: _slices({"image": images, "id": np.arange(5)}).batch(
        2
    ),
    "whole dictionary": lambda images: {"image": images, "label": np.arange(5)},
    "unknown length": lambda images: _slices(images).filter(lambda image: True),
    "generated": lambda images: tf.data.Dataset.from_generator(
        lambda: iter(images), output_signature=tf.TensorSpec(None, tf.float32)
    ),
    "sequence": _Batches,
    "sequence of pairs": lambda images: _Batches(images, lambda batch: (batch, [1, 2])),
    "sequence of triples": lambda images: _Batches(images, lambda batch: (batch, [1], [0.5])),
    "sequence of dictionaries": lambda images: _Batches(images, lambda batch: {"image": batch}),
    "sequence of lists": lambda images: _Batches(images, list),
    "sequence of tensors": lambda images: _Batches(images, tf.constant),
    "sequence with workers": lambda images: _Batches(images, workers=2),
    "endless iterator": _Endless,
    "flow": _flow,
    "numpy of tfds": lambda images: tfds.as_numpy(_slices({"image": images}).batch(2)),
    "sized iterable": _Sized,
    "sized iterable of pairs": lambda images: _Sized([(image, 1) for image in images]),
}


def _objects(images):
    objects = np.empty(len(images), object)
    objects[:] = list(images)
    return objects


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_give_images_gives_each_of_them_once(way):
    expected = _five()
    found = list(images.each_image(WAYS[way](expected), SHAPE))
    assert all(image.dtype == np.float32 for image in found)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("way", "number"),
    [("array", 5), ("tensor", 5), ("list", 5), ("dataset", 5), ("pairs", 5), ("dictionaries", 5),
     ("whole dictionary", 5), ("batches", None), ("unknown length", None), ("generated", None),
     ("sequence", None), ("flow", None)],
)  # fmt: skip
def test_numbers_of_images(way, number):
    assert images.number_of_images(WAYS[way](_five())) == number


def _endless_numbers():
    raise AssertionError("an image was read")
    yield


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (_endless_numbers, "generator.*from_generator"),
        (lambda: iter(_five()), "Received: iterator"),
        (lambda: map(np.asarray, _five()), "Received: map"),
        (lambda: iter(_slices(_five())), "OwnedIterator"),
        (lambda: _slices(_five()).repeat(), "infinite cardinality.*take"),
        (lambda: _slices({"image": _five()}).repeat(), "infinite cardinality"),
        (_WithoutLength, "_WithoutLength"),
        (_Infinite, "_Infinite"),
        (lambda: tfds.as_numpy(_slices(_five()).repeat()), "_IterableDataset"),
        (lambda: None, "NoneType"),
        (lambda: 5, "int"),
        (lambda: "images.npy", "str"),
        (lambda: b"images", "bytes"),
    ],
)
def test_what_has_no_end_or_no_length_is_refused_unread(given, message):
    given = given()
    for function in (
        images.number_of_images,
        lambda images_given: next(images.each_image(images_given, SHAPE)),
    ):
        with pytest.raises(ValueError, match=message):
            function(given)


@pytest.mark.parametrize("make", [list, tuple, lambda given: _objects(given)])
def test_odd_image_of_a_list_is_named(make):
    odd = [*_five()[:3], np.zeros((2, 2, 1), np.float32), *_five()[:2]]
    with pytest.raises(ValueError, match=r"image 3 of shape \(2, 2, 1\) after .*\(2, 3, 1\)"):
        images.number_of_images(make(odd))
    with pytest.raises(ValueError, match="Image 0 has the wrong shape"):
        list(images.each_image(make([np.zeros((2, 2, 1))] * 2), SHAPE))


def test_images_with_labels_in_a_list_are_refused_with_a_remedy():
    with pytest.raises(ValueError, match="give the images alone"):
        images.number_of_images((_five(), np.arange(5)))
    with pytest.raises(ValueError, match="Batch 0 .* in a tuple"):
        list(images.each_image(_Batches(_five(), lambda batch: [batch, [1, 2]]), SHAPE))


def test_batch_of_unequal_images_is_named():
    unequal = [*_five()[:3], np.zeros((2, 2, 1), np.float32)]
    with pytest.raises(ValueError, match="Batch 1 holds images of unequal shapes"):
        list(images.each_image(_Batches(unequal), SHAPE))
    with pytest.raises(ValueError, match=r"Batch 0 .* shape \(1, 2, 2, 3, 1\)"):
        list(images.each_image(_Batches(_five(), lambda batch: batch[np.newaxis]), SHAPE))


def test_dictionaries_without_images_are_refused_with_a_remedy():
    for given in (
        _slices({"pixels": _five(), "label": np.arange(5)}),
        {"pixels": _five()},
        _Batches(_five(), lambda batch: {"pixels": batch}),
    ):
        with pytest.raises(ValueError, match=r"under `image`.*'pixels'.*\.map"):
            list(images.each_image(given, SHAPE))


def test_only_one_batch_is_held():
    class Big:
        """An array of a million images that cannot be had at once."""

        shape, dtype = (10**6, *SHAPE), np.dtype(np.float32)
        read = 0

        def __getitem__(self, index):
            self.read += 1
            return np.full(SHAPE, 0.5, np.float32)

    big = Big()
    assert images.number_of_images(big) == 10**6
    each = images.each_image(big, SHAPE)
    next(each), next(each)
    assert big.read == 2
    given = np.zeros((3, *SHAPE), np.float32)
    # The images of an array are not copied before they are checked.
    (batch,) = images._each_batch(given, SHAPE)
    assert all(np.shares_memory(image, given) for image in batch)


@pytest.mark.parametrize(
    "given", [[], (), np.zeros((0, *SHAPE)), _slices(np.zeros((0, *SHAPE))), _Batches([])]
)
def test_no_images_are_none(given):
    assert list(images.each_image(given, SHAPE)) == []
