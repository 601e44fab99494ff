"""Encoded images for tests, well formed and hostile; made by another library."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"


def encoded(values, kind="PNG", mode=None, **options):
    """Returns the file of an image uint8 [height, width(, 1 or 3)], maybe in another mode."""
    values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    image, file = Image.fromarray(values), io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def values_of(file, mode):
    """Returns what the other library decodes a file to, float32 [height, width, channels]."""
    values = np.asarray(Image.open(io.BytesIO(file)).convert(mode))
    return np.atleast_3d(values).astype(np.float32) / np.float32(255)


def chunk(name, content):
    """Returns a chunk of a PNG file."""
    code = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + code


def declared(width, height, bits=8, kind=2):
    """Returns a PNG file that declares a size which its content does not have."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    content = zlib.compress(bytes(10))
    return PNG_START + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def animated(values):
    """Returns an animated PNG file."""
    file = io.BytesIO()
    frames = [Image.fromarray(values), Image.fromarray(255 - values)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


def changed(file, place, value):
    """Returns a file with another byte at a place."""
    copy = bytearray(file)
    copy[place] = value
    return bytes(copy)


def with_scans(file, scans):
    """Returns a JPEG file with so many scans more that are empty, before its end."""
    return file[:-2] + b"\xff\xda" * scans + file[-2:]


def not_noticed(values):
    """Returns dict of what is wrong to a file that is answered all the same, in colors."""
    png, jpeg, bmp = (encoded(values, kind) for kind in ("PNG", "JPEG", "BMP"))
    other = 255 - values
    end = png.index(b"IEND") - 4
    return {
        "a JPEG with damaged pixels": jpeg[:-30] + bytes(28) + jpeg[-2:],
        "a BMP with a changed byte": changed(bmp, len(bmp) - 1, bmp[-1] ^ 1),
        "two JPEGs": jpeg + encoded(other, "JPEG"),
        "two PNGs": png + encoded(other),
        "a late transparent color": png[:end] + chunk(b"tRNS", bytes(6)) + png[end:],
        "a late animation": png[:end] + chunk(b"acTL", bytes(8)) + png[end:],
    }


def hostile(values):
    """Returns dict of what is wrong to a file that is to be refused, for an image in colors."""
    png, jpeg, bmp = (encoded(values, kind) for kind in ("PNG", "JPEG", "BMP"))
    files = {
        "empty": b"",
        "text": b"no image",
        "markup": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "only the start of a PNG": PNG_START,
        "only the start of a JPEG": b"\xff\xd8\xff",
        "only the start of a BMP": b"BM",
        "GIF": encoded(values, "GIF"),
        "WebP": encoded(values, "WEBP"),
        "alpha": encoded(values, mode="RGBA"),
        "grey with alpha": encoded(values, mode="LA"),
        "BMP with alpha": encoded(values, "BMP", mode="RGBA"),
        "BMP with a palette": encoded(values, "BMP", mode="P"),
        "compressed BMP": changed(bmp, 30, 1),
        "old BMP": changed(bmp, 14, 12),
        "CMYK": encoded(values, "JPEG", mode="CMYK"),
        "16 bits": encoded(values[..., 0].astype(np.uint16) * 257),
        "16 bits in colors": declared(*values.shape[1::-1], bits=16),
        "a transparent color": encoded(values, transparency=(1, 2, 3)),
        "animation": animated(values),
        "one row less": encoded(values[:-1]),
        "sides exchanged": encoded(np.swapaxes(values, 0, 1)),
        "no pixels": declared(0, 0),
        "few pixels of many": declared(*values.shape[1::-1]),
        "many pixels": declared(60_000, 60_000),
        "as many pixels as can be": declared(2**32 - 1, 2**32 - 1),
        "a product that overflows": declared(2**31, 2**31),
        "a PNG with a changed byte": changed(png, len(png) - 30, png[-30] ^ 1),
        "a chunk that ends far away": PNG_START + png[8:33] + b"\xff\xff\xff\xfftEXt" + png[33:],
        "many chunks": png[:33] + chunk(b"tEXt", b"a\0") * 1_001 + png[33:],
        "a PNG in a JPEG": b"\xff\xd8\xff" + png,
        "many scans": with_scans(jpeg, 101),
        "JPEG of no rows": changed(jpeg, jpeg.index(b"\xff\xc0") + 6, 0),
        "JPEG of 12 bits": changed(jpeg, jpeg.index(b"\xff\xc0") + 4, 12),
    }
    for name, file in (("PNG", png), ("JPEG", jpeg), ("BMP", bmp)):
        for end in (1, 5, 20, 40, len(file) // 2, len(file) - 20, len(file) - 1):
            files[f"{name} up to byte {end} of {len(file)}"] = file[:end]
    return files
