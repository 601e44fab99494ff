"""What the headers of encoded images declare, read in a graph before anything is decoded.

Each function takes one encoded image, a scalar string tensor, and returns a `Header`. None raises,
whatever the bytes are: what lies behind the end of a file reads as 0.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
BMP_START = b"BM"

# Progressive files have about ten scans. Each costs the time of a whole image, and few bytes.
MOST_SCANS = 100
# Parts of a file before its pixels; libpng has the same limit.
_MOST_PARTS = 1_000
# Chunks before the pixels that make an image one with frames, or with transparent pixels.
_REFUSED_CHUNKS = (b"acTL", b"tRNS")
# Markers of a JPEG file that start a frame, and those that stand without a length.
_FRAMES = [0xC0 + kind for kind in range(16) if kind not in (4, 8, 12)]
_ALONE = [0x01, *range(0xD0, 0xD8)]
_BMP_SIZES = (40, 108, 124)
_GREY_PALETTE = bytes(byte for grey in range(256) for byte in (grey, grey, grey, 0))
# No number or name that is read is longer.
_BEHIND_THE_END = b"\0" * 8


class Header(NamedTuple):
    """What a header declares.

    Attributes:
        accepted: bool scalar tensor, whether the kind of file is accepted: 8 bits for a value at
            most, no alpha, no frames.
        height: int64 scalar tensor, of any value.
        width: int64 scalar tensor, of any value.
        colored: bool scalar tensor, False for shades of grey.
    """

    accepted: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    colored: tf.Tensor


def jpeg_header(encoded: tf.Tensor) -> Header:
    """Reads a JPEG file: grey or of three components, of at most `MOST_SCANS` scans."""

    def marker_at(place):
        return _number(encoded, place + 1, 1)

    def is_segment(place, parts):
        found = (_number(encoded, place, 1) == 0xFF) & (parts < _MOST_PARTS)
        # Neither the start of a frame, nor of a scan, nor the end.
        marker = marker_at(place)
        return found & ~_one_of(marker, [*_FRAMES, 0x00, 0xD8, 0xD9, 0xDA])

    def next_segment(place, parts):
        marker, length = marker_at(place), _number(encoded, place + 2, 2)
        step = 2 + tf.where(_one_of(marker, _ALONE), tf.zeros_like(length), length)
        # Segments may begin with several 255.
        return place + tf.where(marker == 0xFF, tf.ones_like(step), step), parts + 1

    place = _walked(is_segment, next_segment, start=2)
    framed = (_number(encoded, place, 1) == 0xFF) & _one_of(marker_at(place), _FRAMES)
    bits, components = _number(encoded, place + 4, 1), _number(encoded, place + 9, 1)
    accepted = framed & (bits == 8) & _one_of(components, [1, 3]) & (_scans(encoded) <= MOST_SCANS)
    height, width = (_number(encoded, place + offset, 2) for offset in (5, 7))
    return Header(accepted, height, width, components == 3)


def png_header(encoded: tf.Tensor) -> Header:
    """Reads a PNG file: of 1 to 8 bits, grey, RGB or with a palette, and not an animation."""

    def name_at(place):
        return _part(encoded, place + 4, 4)

    def is_plain_chunk(place, parts):
        ends = _one_of(name_at(place), [b"IDAT", b"\0\0\0\0", *_REFUSED_CHUNKS])
        return ~ends & (parts < _MOST_PARTS)

    def next_chunk(place, parts):
        return place + 12 + _number(encoded, place, 4), parts + 1

    start = len(PNG_START)
    place = _walked(is_plain_chunk, next_chunk, start=start + 25)
    plain = (_part(encoded, start, 8) == b"\0\0\0\x0dIHDR") & (name_at(place) == b"IDAT")
    width, height = (_number(encoded, start + offset, 4) for offset in (8, 12))
    bits, kind = (_number(encoded, start + offset, 1) for offset in (16, 17))
    # 4 and 6 have an alpha channel.
    return Header(plain & (bits <= 8) & _one_of(kind, [0, 2, 3]), height, width, kind != 0)


def bmp_header(encoded: tf.Tensor) -> Header:
    """Reads a BMP file: uncompressed, of 24 bits, or of 8 bits with a palette of all greys."""
    offset, size, width, height = (_number(encoded, place, -4) for place in (10, 14, 18, 22))
    bits, compression = _number(encoded, 28, -2), _number(encoded, 30, -4)
    # A negative height stores the rows from the top.
    height = tf.where(height >= 2**31, 2**32 - height, height)
    palette = _part(encoded, 14 + size, len(_GREY_PALETTE))
    grey = (bits == 8) & (palette == _GREY_PALETTE) & (offset >= 14 + size + len(_GREY_PALETTE))
    known = _one_of(size, _BMP_SIZES) & (compression == 0) & (offset >= 14 + size)
    return Header(known & (grey | (bits == 24)), height, width, bits == 24)


def _walked(goes_on, following, start):
    """Returns the place of the part of a file at which a walk from `start` ends."""
    place, _ = tf.while_loop(
        goes_on, following, (tf.constant(start, tf.int64), tf.constant(0)), parallel_iterations=1
    )
    return place


def _scans(encoded: tf.Tensor) -> tf.Tensor:
    """Returns how many scans a JPEG file has, or more."""
    values = tf.io.decode_raw(encoded, tf.uint8)
    # Within a scan 255 is followed by 0 or by a restart, so that no scan is missed.
    return tf.math.count_nonzero((values[:-1] == 0xFF) & (values[1:] == 0xDA))


def _one_of(value, values):
    return tf.reduce_any(value == tf.constant(values, value.dtype))


def _part(encoded, place, size):
    """Returns bytes of a file from a place on, fewer at its end."""
    place = tf.minimum(tf.cast(place, tf.int64), tf.cast(tf.strings.length(encoded), tf.int64))
    return tf.strings.substr(encoded, place, size)


def _number(encoded: tf.Tensor, place: tf.Tensor | int, size: int) -> tf.Tensor:
    """Returns an unsigned number of so many bytes, of minus so many if the low byte is first."""
    part = tf.strings.substr(_part(encoded, place, abs(size)) + _BEHIND_THE_END, 0, abs(size))
    values = tf.cast(tf.io.decode_raw(part, tf.uint8), tf.int64)
    weights = 256 ** np.arange(abs(size), dtype=np.int64)
    return tf.reduce_sum(values * (weights if size < 0 else weights[::-1]))
