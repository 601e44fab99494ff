"""Signatures of encoded images: those of pixels, behind a decoder.

`certify_bytes` is `certify` of the pixels that `decode` gives, and so on: one function computes
both, so that the answers are the same bit for bit. The certificates are about these pixels.
"""

import tensorflow as tf

from export.answers import SUFFIX_OF_FILES
from export.image_decoder import ImageDecoder
from export.signatures import Answer, Endpoints, traced_function

# The first computes what it is given, and cannot say that a row is refused.
_PIXELS_ONLY = ("encode", "serving_default")


def with_bytes(endpoints: Endpoints, decoder: ImageDecoder) -> Endpoints:
    """Returns endpoints with those of encoded images, whose names end in `_bytes`, and `decode`.

    Args:
        endpoints: those of `Signatures` or `MarginSignatures`, or of both, `traced`.
        decoder: `ImageDecoder`.

    Returns:
        dict of name to (function, input signature); `image_bytes` string [batch] takes the place
        of `images`.
    """
    files = tf.TensorSpec([None], tf.string, name="image_bytes")
    decode = traced_function(decoder.decode, [files])
    of_files: Endpoints = {
        name + SUFFIX_OF_FILES: (_behind(decode, function), [files, *specs[1:]])
        for name, (function, specs) in endpoints.items()
        if name not in _PIXELS_ONLY and specs[0].name == "images"
    }
    return {
        **endpoints,
        **of_files,
        "decode": (lambda image_bytes: {"images": decode(image_bytes)}, [files]),
    }


def _behind(decode, function):
    """Returns a function of files that calls one of images."""

    def of_files(image_bytes: tf.Tensor, *others: tf.Tensor) -> Answer:
        return function(decode(image_bytes), *others)

    return of_files
