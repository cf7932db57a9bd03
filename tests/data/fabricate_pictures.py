"""Picture files with unusual metadata beside their pixels."""

import io
import itertools
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

from jaxedit.data.pictures import png_chunks


def noise(width, height, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    """Return the bytes of a file; `image` is a Pillow image or an array."""
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, kind, **options)
    return file.getvalue()


def with_chunks(png, *chunks):
    """Return a PNG file with further chunks (name, content), before and after its pixels."""
    extra = b"".join(png_chunks.make_chunk(*chunk) for chunk in chunks)
    return png[:33] + extra + png[33:-12] + extra + png[-12:]


def with_segments(jpeg, *segments):
    """Return a JPEG file with further segments (marker, content) at its beginning."""
    extra = b"".join(
        struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
        for marker, content in segments
    )
    return jpeg[:2] + extra + jpeg[2:]


def png_of(depth, kind, row, transparent, *, width):
    """Return a PNG file of one row of packed samples, whose tRNS chunk has these values."""
    header = struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0)
    clear = struct.pack(f">{len(transparent)}H", *transparent)
    chunks = (
        (b"IHDR", header),
        (b"tRNS", clear),
        (b"IDAT", zlib.compress(b"\0" + row)),
        (b"IEND", b""),
    )
    return png_chunks.MAGIC + b"".join(png_chunks.make_chunk(*chunk) for chunk in chunks)


def exif(*tags, order="<"):
    """Return EXIF data of tags (number, type, count, four bytes)."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    table = b"".join(struct.pack(order + "HHI", *tag[:3]) + tag[3] for tag in tags)
    return b"Exif\0\0" + head + struct.pack(order + "H", len(tags)) + table + bytes(4)


def turned(value, order="<"):
    """Return the tag of an orientation."""
    return (0x0112, 3, 1, struct.pack(order + "HH", value, 0))


def profile(primaries, gamma=2.2):
    """Return an ICC profile of a matrix: `primaries` is XYZ (D50) of red, green and blue."""
    parts = {b"wtpt": _xyz(0.9642, 1.0, 0.8249)}
    for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True):
        parts[name] = _xyz(*xyz)
    parts |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    return _icc(b"RGB ", parts)


def grey_profile(gamma):
    """Return an ICC profile of grey."""
    return _icc(b"GRAY", {b"wtpt": _xyz(0.9642, 1.0, 0.8249), b"kTRC": _curve(gamma)})


def ink_profile():
    """Return an ICC profile of CMYK: an ink takes a third of the lightness, black all of it."""
    ramp = bytes(range(256))
    lightness = [
        round(255 * (1 - k) * (1 - (c + m + y) / 3))
        for c, m, y, k in itertools.product((0, 1), repeat=4)
    ]
    table = b"".join(bytes((light, 128, 128)) for light in lightness)
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1\0\0\0\0\4\3\2\0" + identity + ramp * 4 + table + ramp * 3
    return _icc(b"CMYK", {b"A2B0": lut}, pcs=b"Lab ")


def _xyz(*values):
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(65536 * value) for value in values))


def _curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(256 * gamma), 0)


def _icc(space, parts, pcs=b"XYZ "):
    parts = {b"desc": b"desc" + struct.pack(">III", 0, 2, 0x78000000) + bytes(79)} | parts
    parts |= {b"cprt": b"text\0\0\0\0x\0\0\0"}
    table, content, at = b"", b"", 128 + 4 + 12 * len(parts)
    for name, part in parts.items():
        part += bytes(-len(part) % 4)
        table += struct.pack(">4sII", name, at + len(content), len(part))
        content += part
    size = at + len(content)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", space, pcs)
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63189, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + content


DISPLAY_P3 = profile(
    ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
)
ADOBE_RGB = profile(((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
