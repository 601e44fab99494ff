"""Encoded images as pixels, in a graph, each row by itself.

TensorFlow's decoders raise for the whole batch where one image does not decode. A data set that
drops elements with errors keeps them apart, and holds TensorFlow operations only.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import tensorflow as tf

from export import image_headers
from export.image_headers import Header

ResizeName: TypeAlias = Literal["bilinear", "area", "crop"]

# Larger images are refused before they are decoded: a short file can declare a huge one.
MOST_PIXELS = 2**24
# What stands for the pixels of a row that is refused. No signature answers it.
REFUSED = -1.0
_RULES = {
    None: "the exact size; others are refused",
    "bilinear": "resized to the input, not keeping the ratio of the sides; bilinear, antialiased",
    "area": "resized to the input, not keeping the ratio of the sides; means of areas",
    "crop": "the largest central part with the input's ratio of the sides, resized to the input; "
    "bilinear, antialiased",
}


class ImageDecoder:
    """Decodes images by a rule that is fixed at export.

    Accepted are JPEG, PNG and BMP files of at most 8 bits for a value, grey or in colors, that
    declare neither alpha nor, before the pixels, frames or transparent pixels, of at most 2^24
    pixels. JPEG and BMP files that are damaged and still decode are accepted; what follows the
    pixels of a JPEG or PNG file is not looked at, as long as the file is whole. Grey images
    have three equal channels where the input has three; images in colors are refused where it has
    one. Orientation tags, color profiles and gamma are not applied. A value v becomes v / 255,
    rounded to float32.

    Args:
        image_shape: ints (height, width, channels) of the input, with 1 or 3 channels.
        resize: None for images of exactly that size, or 'bilinear', 'area' or 'crop'.

    Attributes:
        image_shape: tuple of ints.
        resize: None or str.

    Raises:
        ValueError: if the number of channels or the rule is impossible.

    Examples:
        >>> import tensorflow as tf
        >>> from export.image_decoder import ImageDecoder
        >>> decoder = ImageDecoder((2, 2, 1))
        >>> encoded = tf.io.encode_png(np.full((2, 2, 1), 255, np.uint8))
        >>> images = decoder.decode(tf.stack([encoded, "no image"]))
        >>> images.numpy().max(axis=(1, 2, 3)).tolist()
        [1.0, -1.0]
    """

    def __init__(self, image_shape: Sequence[int], resize: ResizeName | None = None) -> None:
        if not decodes(image_shape):
            raise ValueError(
                "Encoded images are decoded to 1 or 3 channels. Received: an input of shape "
                f"{tuple(image_shape)}. Leave out `resize`, and send pixels."
            )
        if resize not in _RULES:
            raise ValueError(
                f"`resize` must be None or one of {', '.join(get_args(ResizeName))}. "
                f"Received: {resize!r}"
            )
        self.image_shape = tuple(image_shape)
        self.resize = resize

    def decode(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """Decodes images.

        Args:
            image_bytes: string tensor [batch], files.

        Returns:
            float32 tensor [batch, height, width, channels] in [0, 1]; all -1 in the rows of files
            that are not accepted, or do not decode.
        """
        rows = tf.shape(image_bytes)[0]
        files = tf.data.Dataset.from_tensor_slices((tf.range(rows), image_bytes))
        decoded = files.map(lambda row, encoded: (row, self._decode_one(encoded)))
        # An element for a start, so that there is one batch also where nothing decodes.
        start = tf.data.Dataset.from_tensors((tf.constant(-1), self._refused()))
        batch = start.concatenate(decoded.ignore_errors()).batch(tf.cast(rows, tf.int64) + 1)
        found, pixels = batch.with_options(_plain_options()).get_single_element()
        refused = tf.fill([rows, *self.image_shape], REFUSED)
        return tf.tensor_scatter_nd_update(refused, found[1:, tf.newaxis], pixels[1:])

    def description(self) -> dict[str, Any]:
        """Returns what a model card says of encoded images."""
        return {
            "formats": ["JPEG", "PNG", "BMP"],
            "guarantee": "about the pixels as decoded and resized, those of `decode`; not about "
            "the file, nor the image before it was resized",
            "resize": self.resize or "none",
            "size": _RULES[self.resize],
            **({} if self.resize is None else {"most_pixels": MOST_PIXELS}),
            "values": "v / 255 in float32; grey has equal channels; orientation tags, color "
            "profiles and gamma are not applied",
            "refused": "files whose header declares alpha, 16 bits, CMYK, or colors where the "
            "input is grey; transparent pixels or frames (tRNS, acTL) declared before the pixels "
            "of a PNG; files that break off, or that the decoder gives up",
            "not_noticed": "damage of a JPEG or BMP that still decodes, which is answered as the "
            "image that it now is; in a JPEG or PNG what comes after the pixels, such as a second "
            "image, or tRNS or acTL chunks",
        }

    def _decode_one(self, encoded: tf.Tensor) -> tf.Tensor:
        """Returns the pixels of one file, or `REFUSED`; raises where it does not decode."""
        formats = (
            (image_headers.JPEG_START, image_headers.jpeg_header, _decode_jpeg),
            (image_headers.PNG_START, image_headers.png_header, tf.io.decode_png),
            (image_headers.BMP_START, image_headers.bmp_header, tf.io.decode_bmp),
        )
        return tf.case(
            [
                (
                    tf.strings.substr(encoded, 0, len(start)) == start,
                    lambda read=read, decode=decode: self._decode_if_fit(encoded, read, decode),
                )
                for start, read, decode in formats
            ],
            default=self._refused,
        )

    def _decode_if_fit(self, encoded, read, decode):
        header = read(encoded)
        colors_fit = self.image_shape[2] == 3 or ~header.colored
        fits = header.accepted & colors_fit & self._size_fits(header.height, header.width)
        return tf.cond(fits, lambda: self._pixels(decode(encoded), header), self._refused)

    def _size_fits(self, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        if self.resize is None:
            return (height == self.image_shape[0]) & (width == self.image_shape[1])
        # Of numbers up to 2^32, so that no product overflows.
        return (height >= 1) & (width >= 1) & (height <= MOST_PIXELS // tf.maximum(width, 1))

    def _pixels(self, values: tf.Tensor, header: Header) -> tf.Tensor:
        """Returns the pixels of a decoded image of bytes, or `REFUSED`."""
        channels = tf.where(header.colored, tf.constant(3, tf.int64), 1)
        declared = tf.stack([header.height, header.width, channels])
        shape = tf.stack([header.height, header.width, self.image_shape[2]])
        # A decoder that finds another image in a file than its header declares is not believed.
        return tf.cond(
            tf.reduce_all(tf.shape(values, tf.int64) == declared),
            lambda: self._resized(
                tf.broadcast_to(tf.gather(_values(), tf.cast(values, tf.int32)), shape)
            ),
            self._refused,
        )

    def _refused(self) -> tf.Tensor:
        return tf.fill(self.image_shape, REFUSED)

    def _resized(self, pixels):
        """Returns pixels [any height, any width, channels] in [0, 1] at the size of the input."""
        height, width, _ = self.image_shape
        if self.resize is None:
            return tf.ensure_shape(pixels, self.image_shape)
        if self.resize == "crop":
            pixels = _central_part(pixels, height, width)
        method = "area" if self.resize == "area" else "bilinear"
        resized = tf.image.resize(pixels, [height, width], method, antialias=method == "bilinear")
        # Sums of weights may be rounded to above 1.
        return tf.ensure_shape(tf.clip_by_value(resized, 0.0, 1.0), self.image_shape)


def decodes(image_shape: Sequence[int]) -> bool:
    """Returns whether files can be decoded to images of a shape (height, width, channels)."""
    return len(image_shape) == 3 and image_shape[2] in (1, 3)


def _decode_jpeg(encoded):
    # The accurate transform, which has the same bits in every build of libjpeg-turbo.
    return tf.io.decode_jpeg(encoded, dct_method="INTEGER_ACCURATE")


def _values() -> tf.Tensor:
    """Returns the pixel of each byte: a table, which no optimizer of graphs rounds otherwise."""
    return tf.constant(np.arange(256, dtype=np.float32) / np.float32(255))


def _central_part(pixels, height, width):
    """Returns the largest central part of pixels that has the ratio of `height` to `width`."""
    common = math.gcd(height, width)
    unit = tf.constant([height // common, width // common], tf.int64)
    shape = tf.shape(pixels, tf.int64)[:2]
    # Rounded to whole pixels, at least one.
    other = shape[::-1] * unit // unit[::-1]
    size = tf.maximum(tf.minimum(shape, other), 1)
    begin = (shape - size) // 2
    return pixels[begin[0] : begin[0] + size[0], begin[1] : begin[1] + size[1]]


def _plain_options() -> tf.data.Options:
    """Returns options of a data set that is run as it is written, in the thread of its caller."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.deterministic = True
    return options
