"""Images with their latents, of which several are encoded together where that is faster."""

import time
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from lsrs_tf.sampling.smoothed_classifier import SmoothedClassifier

Key = TypeVar("Key")
Item = TypeVar("Item")


class EncodedImage(NamedTuple, Generic[Key]):
    """An image and its latent.

    Attributes:
        key: what the image is known by.
        image: float32 array [height, width, channels], checked.
        latent: float32 tensor, its latent.
        seconds: float, time that went into it.
    """

    key: Key
    image: NDArray[np.float32]
    latent: tf.Tensor
    seconds: float


def encoded_images(
    classifier: SmoothedClassifier, waiting: Iterator[tuple[Key, NDArray[np.float32]]]
) -> Iterator[EncodedImage[Key]]:
    """Yields images with their latents, in their order.

    No more images are read ahead than are encoded together. The latent of an image does not depend
    on which they are.

    Args:
        classifier: `SmoothedClassifier`.
        waiting: iterable of (key, checked image). If it raises, the images before that come first.

    Yields:
        `EncodedImage`.

    Raises:
        ValueError: if the encoder gives no finite latent for an image; those before it have been
            yielded.
    """
    # The number changes if batches turn out not to give the bits of images alone.
    for group in in_groups(waiting, lambda: classifier.images_together):
        yield from _encoded(classifier, group)


def in_groups(iterator: Iterator[Item], size: Callable[[], int]) -> Iterator[list[Item]]:
    """Yields the items of an iterator in groups, and what came before an error before it.

    Args:
        iterator: any iterator.
        size: function without arguments that returns how many items the next group has.

    Yields:
        Non-empty lists of up to so many items, in their order.

    Raises:
        Exception: what the iterator raised, after the items before it.
    """
    end: Exception | None = None
    while end is None:
        group, count = [], size()
        try:
            while len(group) < count:
                group.append(next(iterator))
        except Exception as raised:
            end = raised
        if group:
            yield group
    if not isinstance(end, StopIteration):
        raise end


def _encoded(
    classifier: SmoothedClassifier, group: list[tuple[Key, NDArray[np.float32]]]
) -> Iterator[EncodedImage[Key]]:
    start = time.perf_counter()
    try:
        latents = classifier.encode_each([image for _, image in group])
    except ValueError:
        # One of them has none. Those before it have, and it is the one that raises.
        for key, image in group:
            start = time.perf_counter()
            latent = classifier.encode(image)
            yield EncodedImage(key, image, latent, time.perf_counter() - start)
        return
    seconds = (time.perf_counter() - start) / max(len(group), 1)
    for (key, image), latent in zip(group, latents, strict=True):
        yield EncodedImage(key, image, latent, seconds)
