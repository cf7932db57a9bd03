import io
import struct

import numpy as np
import pytest
from fabricate_pictures import encoded, exif, noise, turned
from PIL import Image

from jaxedit.data.pictures import tiff_tags
from jaxedit.data.pictures.picture_formats import UnknownFormat


def tags_of(*tags, order="<"):
    return tiff_tags.read(exif(*tags, order=order)[6:])


@pytest.mark.parametrize("order", "<>")
def test_orientation_by_hand(order):
    assert tiff_tags.orientation_of(tags_of(turned(6, order), order=order)) == 6


def test_an_orientation_of_an_odd_type():
    for kind, value in ((1, b"\6\0\0\0"), (4, struct.pack("<I", 6)), (9, struct.pack("<i", 6))):
        assert tiff_tags.orientation_of(tags_of((0x0112, kind, 1, value))) == 6
    for kind, value in ((2, b"6\0\0\0"), (5, bytes(4)), (77, b"\6\0\0\0"), (3, b"\x09\0\0\0")):
        assert tiff_tags.orientation_of(tags_of((0x0112, kind, 1, value))) is None
    assert tiff_tags.orientation_of(tags_of((0x0112, 3, 2**32 - 1, b"\6\0\0\0"))) is None


def test_no_damaged_tag_spoils_another():
    broken = [(n, kind, 2**31, b"\xff\xff\xff\x7f") for n in (1, 305, 34665) for kind in (2, 5, 99)]
    assert tiff_tags.orientation_of(tags_of(*broken, turned(8), *broken)) == 8
    whole = exif(turned(3), *broken)[6:]
    assert tiff_tags.orientation_of(tiff_tags.read(whole[:30])) == 3  # the rest is cut off


def test_what_has_no_directory():
    for data in (
        b"",
        b"II*\0",
        b"MM\0*\0\0\0\x08",
        b"II*\0\xff\xff\xff\xff",
        b"\0\x08\0\2\1\x12\0\3",
    ):
        tags = tiff_tags.read(data)
        assert tags is None or tiff_tags.orientation_of(tags) is None


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"big_tiff": True}])
def test_pixels_alone(options):
    pixels = noise(9, 7)
    data = encoded(pixels, "TIFF", description="words", dpi=(72, 72), icc_profile=b"x", **options)
    tags = tiff_tags.read(data)
    bare = tiff_tags.pixels_only(tags)
    assert len(bare) == len(data) and tags.content(tiff_tags.PROFILE)[1] == b"x"
    assert not {270, 282, tiff_tags.PROFILE} & set(tiff_tags.read(bare).entries)
    np.testing.assert_array_equal(Image.open(io.BytesIO(bare)), pixels)


def test_samples_without_a_known_range_are_named():
    for bits, kind, words in (
        ((12,), 1, "12-bit samples"),
        ((32,), 3, "32-bit float samples"),
        ((64,), 3, "64-bit float samples"),
        ((16,), 2, "16-bit signed samples"),
        ((32,), 1, "32-bit samples"),
    ):
        tags = tags_of(
            (258, 3, 1, struct.pack("<HH", *bits, 0)), (339, 3, 1, struct.pack("<HH", kind, 0))
        )
        with pytest.raises(UnknownFormat, match=f"TIFF of {words}: convert it"):
            tiff_tags.require_photo(tags, any_samples=False)
        tiff_tags.require_photo(tags, any_samples=True)


def test_previews_of_raw_files_are_no_photos():
    small, parts = (254, 4, 1, struct.pack("<I", 1)), (330, 4, 1, bytes(4))
    for tags in ([(50706, 1, 4, b"\1\4\0\0")], [small, parts]):
        with pytest.raises(UnknownFormat, match="raw file"):
            tiff_tags.require_photo(tags_of(*tags), any_samples=True)
    tiff_tags.require_photo(tags_of(small), any_samples=False)  # a scan in a smaller size
