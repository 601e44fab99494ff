"""Checks of the images that somebody wants certified."""

import numpy as np
import tensorflow as tf


def checked_image(image, shape, index):
    """Returns one image as a float32 array, or raises if no certificate could be given for it.

    The certificate is that of the float32 image.

    Args:
        image: array or tensor.
        shape: tuple, the shape that the encoder takes.
        index: int, the place of the image, for the message.

    Returns:
        float32 array of the given shape.

    Raises:
        ValueError: if the shape is wrong, the numbers are not floating point, not finite, or
            outside [0, 1].
    """
    image = np.asarray(image)
    if image.shape != tuple(shape):
        raise ValueError(
            f"Image {index} has the wrong shape. Received: {image.shape}, expected: {tuple(shape)} "
            "(height, width, channels)."
        )
    if not (np.issubdtype(image.dtype, np.floating) or image.dtype == tf.bfloat16.as_numpy_dtype):
        raise ValueError(
            f"Image {index} must hold floating point pixels in [0, 1]. Received: dtype "
            f"{image.dtype}. Convert whole numbers from 0 to 255 with "
            "`images.astype('float32') / 255`."
        )
    image = image.astype(np.float32)
    if not np.all(np.isfinite(image)):
        raise ValueError(
            f"Image {index} has {np.count_nonzero(~np.isfinite(image))} pixels that are NaN or "
            "infinite. No certificate holds for it; repair or leave out the image."
        )
    if image.min() < 0 or image.max() > 1:
        raise ValueError(
            f"Image {index} has pixels outside [0, 1]. Received: minimum {image.min()}, maximum "
            f"{image.max()}. Radii are in units of pixels in [0, 1]; scale the images, and put any "
            "standardization into the model (lsrs_tf.layers.Standardization), where it is counted."
        )
    return image


def each_image(images, shape):
    """Yields the images of an array, a tensor or a data set, one by one and checked.

    Args:
        images: array or tensor [images, *shape], or a `tf.data.Dataset` of images, of batches of
            images, or of tuples that begin with one of these.
        shape: tuple, the shape of one image.

    Yields:
        float32 arrays of the given shape.
    """
    index = 0
    for batch in _each_batch(images, shape):
        for image in batch:
            yield checked_image(image, shape, index)
            index += 1


def number_of_images(images):
    """Returns the number of images, or None where a data set does not tell."""
    if not isinstance(images, tf.data.Dataset):
        if not hasattr(images, "__len__"):
            raise ValueError(
                "Images must come in an array, a tensor or a tf.data.Dataset. Received: "
                f"{type(images).__name__}. For a generator, use tf.data.Dataset.from_generator."
            )
        return len(images)
    element = _first(images.element_spec)
    size = int(images.cardinality())
    return size if size >= 0 and element.shape.rank == 3 else None


def _each_batch(images, shape):
    if not isinstance(images, tf.data.Dataset):
        images = np.asarray(images)
        if images.ndim != len(shape) + 1:
            raise ValueError(
                "Images must come as one array with a leading dimension that counts them. "
                f"Received: shape {images.shape}, expected: (images, "
                f"{', '.join(map(str, shape))}). For a single image, use `image[np.newaxis]`."
            )
        yield images
        return
    for element in images:
        batch = np.asarray(_first(element))
        yield batch if batch.ndim == len(shape) + 1 else batch[np.newaxis]


def _first(element):
    if isinstance(element, dict):
        raise ValueError(
            "A data set must give images, or tuples that begin with them. Received: dictionaries "
            f"with {sorted(element)}. Use `as_supervised=True` in tensorflow-datasets, or map them "
            "to their images."
        )
    return element[0] if isinstance(element, tuple) else element
