import io
import struct
import zlib

import numpy as np
import pytest
from fabricate_pictures import (
    DISPLAY_P3,
    encoded,
    exif,
    noise,
    png_of,
    turned,
    with_chunks,
    with_segments,
)
from PIL import Image

from jaxedit.data.pictures import picture_metadata
from jaxedit.data.pictures.picture_formats import UnknownFormat

PNG, JPEG = encoded(noise(9, 7)), encoded(noise(9, 7), "JPEG")
XMP = b'<x tiff:Orientation="3"/>'
RAW = b"\nexif\n  38\n" + exif(turned(5)).hex().encode() + b"\n"


def test_nothing_but_pixels_is_left_of_a_png():
    extra = [(b"eXIf", exif(turned(6))[6:]), (b"tEXt", b"a\0b"), (b"pHYs", b"x"), (b"zzZz", b"")]
    parts = picture_metadata.of_png(with_chunks(PNG, *extra))
    assert (parts.pixels, parts.orientation, parts.profile) == (PNG, 6, None)


def test_nothing_but_pixels_is_left_of_a_jpeg():
    extra = [(0xE1, exif(turned(6))), (0xE2, b"MPF\0x"), (0xED, b"Photoshop 3.0\0"), (0xFE, b"x")]
    parts = picture_metadata.of_jpeg(with_segments(JPEG, *extra))
    assert (parts.pixels, parts.orientation, parts.profile) == (JPEG, 6, None)


@pytest.mark.parametrize(
    ("chunk", "orientation"),
    [
        ((b"eXIf", exif(turned(7), order=">")), 1),  # the value is written in the other order
        ((b"eXIf", exif(turned(7, ">"), order=">")), 7),  # with a header that belongs to JPEG
        ((b"eXIf", b"\0\x08\0\2\1\x12\0\3"), 1),  # without any header
        ((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW)), 5),
        ((b"tEXt", b"Raw profile type APP1\0" + RAW), 5),
        ((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP), 3),
        ((b"tEXt", b"Raw profile type exif\0\nexif\n4\nzz"), 1),
    ],
)
def test_orientation_in_a_png(chunk, orientation):
    assert picture_metadata.of_png(with_chunks(PNG, chunk)).orientation == orientation


def test_a_chunk_with_a_wrong_checksum_is_passed_over():
    data = with_chunks(PNG, (b"eXIf", exif(turned(6))[6:]))
    assert picture_metadata.of_png(data).orientation == 6
    damaged = data.replace(exif(turned(6))[6:], exif(turned(8))[6:])
    assert picture_metadata.of_png(damaged).orientation == 1


def test_profiles_are_put_together():
    first, second = DISPLAY_P3[:99], DISPLAY_P3[99:]
    pieces = [(0xE2, b"ICC_PROFILE\0\2\2" + second), (0xE2, b"ICC_PROFILE\0\1\2" + first)]
    assert picture_metadata.of_jpeg(with_segments(JPEG, *pieces)).profile == DISPLAY_P3
    assert picture_metadata.of_jpeg(with_segments(JPEG, *pieces[:1])).profile is None
    chunk = (b"iCCP", b"P3\0\0" + zlib.compress(DISPLAY_P3))
    assert picture_metadata.of_png(with_chunks(PNG, chunk)).profile == DISPLAY_P3
    assert picture_metadata.of_png(with_chunks(PNG, (b"iCCP", b"P3"))).profile is None


@pytest.mark.parametrize(
    ("depth", "row", "transparent", "seen"),
    [
        (1, b"\x40", 1, [0, 255, 0, 0]),  # Pillow says 255
        (2, b"\x1b", 1, [0, 85, 170, 255]),  # samples 0, 1, 2, 3
        (4, b"\x01\x23", 1, [0, 17, 34, 51]),
        (8, b"\0\1\2\3", 1, [0, 1, 2, 3]),
    ],
)
def test_the_transparent_grey_is_scaled_as_its_pixels_are(depth, row, transparent, seen):
    parts = picture_metadata.of_png(png_of(depth, 0, row, [transparent], width=4))
    with Image.open(io.BytesIO(parts.pixels)) as image:
        rgba = np.asarray(image.convert("RGBA"))[0]
    assert rgba[:, 0].tolist() == seen and rgba[:, 3].tolist() == [255, 0, 255, 255]


def test_the_transparent_colour_of_16_bits():
    row = struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0x22FF, 0x5600, 0x9A00)
    parts = picture_metadata.of_png(png_of(16, 2, row, [0x1234, 0x5678, 0x9ABC], width=2))
    with Image.open(io.BytesIO(parts.pixels)) as image:
        assert np.asarray(image.convert("RGBA"))[0, :, 3].tolist() == [0, 255]
    short = picture_metadata.of_png(png_of(16, 2, row, [0x1234], width=2))
    assert b"tRNS" not in short.pixels


def test_what_pillow_cannot_decode_is_named():
    deep = bytearray(JPEG)
    deep[deep.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnknownFormat, match="JPEG of 12 bits a sample: convert it"):
        picture_metadata.of_jpeg(bytes(deep))
    phone = PNG[:8] + b"\0\0\0\4CgBI\x50\0\x20\x02\x2b\xd5\xb3\x7f" + PNG[8:]
    with pytest.raises(UnknownFormat, match="an iPhone's own variant"):
        picture_metadata.of_png(phone)


def test_orientation_in_what_pillow_read():
    for info, orientation in (
        ({}, 1),
        ({"exif": exif(turned(4))}, 4),
        ({"exif": exif(turned(4)), "xmp": XMP}, 4),
        ({"exif": exif(), "xmp": XMP}, 3),
        ({"XML:com.adobe.xmp": XMP.decode()}, 3),
        ({"Raw profile type exif": RAW.decode()}, 5),
        ({"exif": "text", "xmp": None}, 1),
    ):
        assert picture_metadata.orientation_in(info) == orientation
