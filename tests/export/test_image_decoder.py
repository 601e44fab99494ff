import numpy as np
import pytest
import tensorflow as tf

from export.image_decoder import ImageDecoder
from tests.export import encoded_files
from tests.export.encoded_files import encoded, values_of

# Neither side is a multiple of what decoders take at once.
HEIGHT, WIDTH = 9, 11
VALUES = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
GREY = VALUES[..., 0]
ACCEPTED = {
    "png": encoded(VALUES),
    "uncompressed png": encoded(VALUES, compress_level=0),
    "jpeg": encoded(VALUES, "JPEG"),
    "jpeg of high quality": encoded(VALUES, "JPEG", quality=100, subsampling=0),
    "progressive": encoded(VALUES, "JPEG", progressive=True),
    "bmp": encoded(VALUES, "BMP"),
    "palette": encoded(VALUES, mode="P"),
    "followed by more": encoded(VALUES) + b"more",
    "with a text": encoded(VALUES)[:33]
    + encoded_files.chunk(b"tEXt", b"Title\0IDAT acTL tRNS")
    + encoded(VALUES)[33:],
}
GREYS = {
    "grey png": encoded(GREY),
    "of one bit": encoded(GREY, mode="1"),
    "grey jpeg": encoded(GREY, "JPEG"),
    "grey bmp": encoded(GREY, "BMP"),
}


def _traced(shape, resize=None):
    decoder = ImageDecoder(shape, resize)
    files = tf.TensorSpec([None], tf.string)
    return tf.function(decoder.decode, input_signature=[files], autograph=False)


@pytest.fixture(scope="module")
def decode():
    """A function of dict of name to file that returns dict of name to pixels."""
    function = _traced((HEIGHT, WIDTH, 3))
    return lambda files: dict(zip(files, function(list(files.values())).numpy(), strict=True))


def test_files_are_decoded_as_by_another_library_to_the_last_bit(decode):
    files = {**ACCEPTED, **GREYS}
    for name, pixels in decode(files).items():
        np.testing.assert_array_equal(pixels, values_of(files[name], "RGB"), err_msg=name)


def test_inputs_of_one_channel_take_no_colors():
    pixels = _traced((HEIGHT, WIDTH, 1))([*GREYS.values(), *ACCEPTED.values()]).numpy()
    for file, found in zip(GREYS.values(), pixels, strict=False):
        np.testing.assert_array_equal(found, values_of(file, "L"))
    assert (pixels[len(GREYS) :] == -1).all()


def test_hostile_files_are_refused_and_harm_no_neighbour(decode):
    wrong = encoded_files.hostile(VALUES)
    found = decode({"first": ACCEPTED["png"], **wrong, "last": ACCEPTED["jpeg"]})
    answered = [name for name in wrong if not (found[name] == -1).all()]
    assert not answered
    np.testing.assert_array_equal(found["first"], VALUES.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(found["last"], values_of(ACCEPTED["jpeg"], "RGB"))


def test_what_is_not_noticed_is_answered_and_said(decode):
    found = decode(encoded_files.not_noticed(VALUES))
    assert not [name for name, pixels in found.items() if (pixels == -1).any()]
    jpeg = values_of(ACCEPTED["jpeg"], "RGB")
    assert (found["a JPEG with damaged pixels"] != jpeg).any()
    np.testing.assert_array_equal(found["two JPEGs"], jpeg)
    for name in ("two PNGs", "a late transparent color", "a late animation"):
        np.testing.assert_array_equal(found[name], values_of(ACCEPTED["png"], "RGB"))
    said = ImageDecoder((HEIGHT, WIDTH, 3)).description()
    for word in ("damage", "JPEG", "BMP", "second image", "tRNS", "acTL"):
        assert word in said["not_noticed"]
    assert "before the pixels" in said["refused"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_files_with_random_bytes_are_decoded_or_refused(decode, kind):
    rng, file = np.random.default_rng(0), encoded(VALUES, kind)
    files = {}
    for trial in range(100):
        values = np.frombuffer(file, np.uint8).copy()
        places = rng.integers(0, len(file), rng.integers(1, 4))
        values[places] = rng.integers(0, 256, places.shape)
        files[trial] = values.tobytes()
    found = decode({**files, "whole": file})
    for name, pixels in found.items():
        inside = ((pixels >= 0) & (pixels <= 1)).all()
        assert inside or (pixels == -1).all(), name
    np.testing.assert_array_equal(found["whole"], values_of(file, "RGB"))


def test_batches_of_none_and_of_refused_rows_only(decode):
    assert _traced((2, 2, 3))(tf.constant([], tf.string)).shape == (0, 2, 2, 3)
    assert (decode({"empty": b""})["empty"] == -1).all()


@pytest.mark.parametrize("resize", ["bilinear", "area", "crop"])
def test_resized_pixels_follow_the_rule(resize):
    height, width = 4, 6
    large = np.random.default_rng(1).integers(0, 256, (40, 36, 3), dtype=np.uint8)
    wide = encoded(np.tile(GREY[:1, :1, np.newaxis], (7, 300, 3)))
    same = VALUES[:height, :width]
    bomb = encoded_files.declared(4097, 4097)
    files = [encoded(large), encoded(same), wide, bomb, encoded(VALUES, mode="RGBA")]
    found = _traced((height, width, 3), resize)(files).numpy()
    assert ((found[:3] >= 0) & (found[:3] <= 1)).all() and (found[3:] == -1).all()
    np.testing.assert_array_equal(found[1], same.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(found[2], GREY[0, 0] / 255, rtol=1e-6)
    pixels = large.astype(np.float64) / 255
    if resize == "area":
        expected = pixels.reshape(height, 10, width, 6, 3).mean(axis=(1, 3))
    else:
        # The ratio 4 : 6 leaves 24 of 40 rows.
        part = pixels[8:32] if resize == "crop" else pixels
        rows, columns = map(_triangles, part.shape, (height, width))
        expected = np.einsum("yh,xw,hwc->yxc", rows, columns, part)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def _triangles(size, smaller):
    """Returns the weights of antialiased bilinear interpolation, [smaller, size]."""
    scale = size / smaller
    centers = (np.arange(smaller)[:, np.newaxis] + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(size) + 0.5 - centers) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


def test_impossible_rules_are_refused():
    with pytest.raises(ValueError, match="bilinear, area, crop.*'nearest'"):
        ImageDecoder((8, 8, 3), "nearest")
    with pytest.raises(ValueError, match=r"1 or 3 channels. Received: .*\(8, 8, 2\)"):
        ImageDecoder((8, 8, 2))
