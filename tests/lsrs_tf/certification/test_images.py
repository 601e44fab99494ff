import numpy as np
import pytest
import tensorflow as tf

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


def test_numbers_of_images():
    data = tf.data.Dataset.from_tensor_slices(np.zeros((5, *SHAPE), np.float32))
    assert images.number_of_images(np.zeros((5, *SHAPE))) == 5
    assert images.number_of_images(data) == 5
    assert images.number_of_images(data.batch(2)) is None
    assert images.number_of_images(data.filter(lambda image: True)) is None
    for given in (data, data.batch(2), tf.data.Dataset.zip((data, data))):
        assert len(list(images.each_image(given, SHAPE))) == 5
