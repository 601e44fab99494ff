"""The ways to give images for certification, read one by one and checked."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeGuard

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

# The ways that are named in `each_image`; objects that only look like one of them work, too.
Images: TypeAlias = (
    NDArray[Any]
    | tf.Tensor
    | Sequence[Any]
    | tf.data.Dataset
    | keras.utils.PyDataset
    | dict[str, Any]
)


def checked_image(
    image: ArrayLike | tf.Tensor, shape: Sequence[int], index: object
) -> NDArray[np.float32]:
    """Returns one image as a float32 array, or raises if no certificate could be given for it.

    The certificate is that of the float32 image.

    Args:
        image: array or tensor.
        shape: tuple, the shape that the encoder takes.
        index: the place of the image, or another name of it, for the message.

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


def each_image(images: Images, shape: Sequence[int]) -> Iterator[NDArray[np.float32]]:
    """Yields images one by one and checked. No more than one batch is held at a time.

    Args:
        images: one of

            - array, tensor, or anything else with `shape` and `dtype` whose rows are images;
            - list or tuple of images of one shape;
            - finite `tf.data.Dataset`;
            - `keras.utils.PyDataset`, or another object with a length and items or an iterator:
              exactly as many items are read as it is long;
            - dictionary with the images under `image`.

            Elements of data sets are images, batches of images, tuples that begin with one of
            these, or dictionaries that hold one under `image`, as in tensorflow-datasets. Labels
            are not looked at.
        shape: tuple, the shape of one image.

    Yields:
        float32 arrays of the given shape.

    Raises:
        ValueError: if the images come in another way, or one of them is not valid.
    """
    index = 0
    for batch in _each_batch(images, shape):
        for image in batch:
            yield checked_image(image, shape, index)
            index += 1


def number_of_images(images: Images) -> int | None:
    """Returns the number of images, or None where batches do not tell.

    Args:
        images: see `each_image`.

    Raises:
        ValueError: if they come in a way that has no end or no length, or in a list of unequal
            shapes. Nothing is read to find out.
    """
    if isinstance(images, dict):
        return number_of_images(_images_of(images))
    if isinstance(images, tf.data.Dataset):
        size = int(images.cardinality())
        if size == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "Images must come to an end. Received: a tf.data.Dataset of infinite cardinality. "
                "Leave out its `repeat()`, or say how many with `dataset.take(count)`."
            )
        shape = getattr(_images_of(images.element_spec), "shape", None)
        rank = None if shape is None else shape.rank
        return size if size >= 0 and rank == _IMAGE_RANK else None
    if _is_array(images):
        return int(images.shape[0]) if len(images.shape) else 0
    if _is_list(images):
        _refuse_unequal(images)
        return len(images)
    _length(images)
    return None


# Height, width, channels.
_IMAGE_RANK = 3


def _each_batch(images: Images, shape: Sequence[int]) -> Iterator[Iterable[Any]]:
    number_of_images(images)
    if isinstance(images, dict):
        yield from _each_batch(_images_of(images), shape)
    elif _is_array(images):
        if len(images.shape) != len(shape) + 1:
            raise ValueError(
                "Images must come as one array with a leading dimension that counts them. "
                f"Received: shape {tuple(images.shape)}, expected: (images, "
                f"{', '.join(map(str, shape))}). For a single image, use `image[np.newaxis]`."
            )
        # Row by row, so that nothing is copied, and a file is not read as a whole.
        yield (images[index] for index in range(int(images.shape[0])))
    elif _is_list(images):
        yield images
    else:
        for index, element in enumerate(_elements(images)):
            yield _batch(element, shape, index)


def _elements(images: Any) -> Iterable[Any]:
    if isinstance(images, tf.data.Dataset):
        return images
    length = _length(images)
    if hasattr(images, "__getitem__"):
        # Iterators of Keras go on for ever, but their items do not.
        return (images[index] for index in range(length))
    return itertools.islice(images, length)


def _batch(element: Any, shape: Sequence[int], index: object) -> NDArray[Any]:
    images = _images_of(element)
    try:
        batch = np.asarray(images)
    except ValueError as error:
        raise ValueError(
            f"Batch {index} holds images of unequal shapes: {error}. Images and labels must come "
            "in a tuple, not in a list."
        ) from error
    if batch.ndim == len(shape):
        return batch[np.newaxis]
    if batch.ndim != len(shape) + 1:
        raise ValueError(
            f"Batch {index} must hold images of shape {tuple(shape)} (height, width, channels). "
            f"Received: an array of shape {batch.shape}."
        )
    return batch


def _is_array(images: object) -> TypeGuard[NDArray[Any]]:
    return hasattr(images, "shape") and hasattr(images, "dtype") and not _is_list(images)


def _is_list(images: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(images, list | tuple) or (
        isinstance(images, np.ndarray) and images.dtype == object
    )


def _refuse_unequal(images: Sequence[Any]) -> None:
    shapes = [np.shape(image) for image in images]
    for index, shape in enumerate(shapes):
        if shape != shapes[0]:
            advice = (
                " Of (images, labels) give the images alone."
                if len(shapes[0]) == _IMAGE_RANK + 1
                else " Resize or leave out the images that differ."
            )
            raise ValueError(
                f"The images of a list must have one shape. Received: image {index} of shape "
                f"{shape} after images of shape {shapes[0]}.{advice}"
            )


def _length(images: Any) -> int:
    """Returns the number of items of a sized object, or raises if it has no end or no length."""
    readable = hasattr(images, "__getitem__") or hasattr(images, "__iter__")
    if not isinstance(images, str | bytes) and readable:
        try:
            # Of a PyDataset: None where it has no end.
            length = images.num_batches
        except (AttributeError, NotImplementedError):
            length = _len(images)
        if length is not None:
            return int(length)
    raise ValueError(
        "Images must come to an end, in an array, a tensor, a list of images, a tf.data.Dataset or "
        f"a keras.utils.PyDataset with a length. Received: {type(images).__name__}. For a "
        "generator, use tf.data.Dataset.from_generator(...).take(count), or a list of the images "
        "that are wanted."
    )


def _len(images: Any) -> int | None:
    try:
        return len(images)
    except TypeError:
        # There is none, or it is not known.
        return None


def _images_of(element: Any) -> Any:
    """Returns the images of an element of a data set, which may hold labels, too."""
    while isinstance(element, dict | tuple) and element:
        if isinstance(element, tuple):
            element = element[0]
        elif "image" in element:
            element = element["image"]
        else:
            raise ValueError(
                "Dictionaries must hold their images under `image`. Received: dictionaries with "
                f"{sorted(element)}. Choose what to certify, of a data set for example by "
                f"`dataset.map(lambda element: element[{next(iter(element))!r}])`."
            )
    return element
