import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from fabricate_pictures import encoded, exif, noise, turned, with_chunks, with_segments
from PIL import Image, ImageOps

from jaxedit.data.pictures import picture_file
from jaxedit.data.pictures.picture_formats import UnknownFormat

PIXELS = noise(12, 8)


def load(data, **options):
    return picture_file.load(io.BytesIO(data), "x", **options)


BROKEN_EXIF = exif((0x0131, 5, 1, struct.pack("<I", 8)), (0x8769, 4, 1, b"\xff" * 4), turned(1))
ODD_PNG = {
    "exif without header": (b"eXIf", b"\0\x08\0\2\1\x12\0\3"),
    "exif of wrong types": (b"eXIf", BROKEN_EXIF[6:]),
    "much text": (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3 << 20))),
    "much international text": (b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(3 << 20))),
    "text of an odd compression": (b"zTXt", b"a\0\7x"),
    "broken profile": (b"iCCP", b"name\0\0junk"),
    "profile without end": (b"iCCP", b"name"),
    "broken resolution": (b"pHYs", b"\0"),
    "broken gamma": (b"gAMA", b""),
    "broken chromaticities": (b"cHRM", b"x"),
    "broken animation": (b"acTL", b"\0"),
    "frames out of order": (b"fcTL", bytes(26)),
    "short transparency": (b"tRNS", b"\0"),
    "broken XMP": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation='9'\xff"),
}
ODD_JPEG = {
    "exif of wrong types": (0xE1, BROKEN_EXIF),
    "exif without header": (0xE1, b"Exif\0\0\0\x08\0\2\1\x12"),
    "exif of nothing": (0xE1, b"Exif\0\0"),
    "broken XMP": (0xE1, b"http://ns.adobe.com/xap/1.0/\0<\xff"),
    "short JFIF": (0xE0, b"JFIF\0"),
    "short Adobe": (0xEE, b"Adobe"),
    "broken profile": (0xE2, b"ICC_PROFILE\0"),
    "profile of one part of nine": (0xE2, b"ICC_PROFILE\0\1\x09junk"),
    "broken MPO": (0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
    "broken Photoshop": (0xED, b"Photoshop 3.0\x008BIM\4\4"),
    "FlashPix": (0xE2, b"FPXR\0"),
}


@pytest.mark.parametrize("name", ODD_PNG)
def test_odd_metadata_of_a_png(name):
    np.testing.assert_array_equal(load(with_chunks(encoded(PIXELS), ODD_PNG[name])), PIXELS)


@pytest.mark.parametrize("name", ODD_JPEG)
def test_odd_metadata_of_a_jpeg(name):
    plain = encoded(PIXELS, "JPEG")
    image = load(with_segments(plain, ODD_JPEG[name]))
    np.testing.assert_array_equal(image, Image.open(io.BytesIO(plain)))


@pytest.mark.parametrize("tag", [270, 282, 700, 34377, 34665, 34675, 34853, 33723])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_odd_metadata_of_a_tiff(tag, compression):
    data = bytearray(encoded(PIXELS, "TIFF", compression=compression, tiffinfo={305: "words"}))
    entry = struct.pack("<HHI", 305, 2, 6)
    at = data.index(entry)
    data[at : at + 12] = struct.pack("<HHII", tag, 9, 2**30, 2**31)
    np.testing.assert_array_equal(load(bytes(data)), PIXELS)


def test_odd_metadata_of_other_formats():
    for kind in ("WEBP", "AVIF"):
        plain = encoded(PIXELS, kind, exif=exif((0x0131, 2, 2, b"x\0\0\0")))
        broken = plain.replace(b"II*\0", b"XX*\0")
        assert broken != plain
        np.testing.assert_array_equal(load(broken), Image.open(io.BytesIO(plain)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "MPO"])
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_of_files_and_of_images(kind, value):
    data = encoded(PIXELS, kind, exif=exif(turned(value))[6:])
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(load(data), wanted)
    np.testing.assert_array_equal(picture_file.upright(Image.open(io.BytesIO(data)), "x"), wanted)


def test_modes_are_turned():
    for mode in ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "I;16", "I", "F"):
        image = Image.new(mode, (3, 2))
        image.info["exif"] = exif(turned(6))
        assert picture_file.upright(image, "x").size == (2, 3)
        assert image.size == (3, 2)  # the argument is not changed


def test_the_first_picture_is_read():
    frames = [Image.fromarray(noise(12, 8, 1) // 2), Image.new("L", (12, 8), 255)]
    for kind in ("GIF", "PNG", "TIFF", "WEBP", "MPO"):
        lossless = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
        assert np.asarray(load(data).convert("L")).max() < 150


def test_pixels_that_are_cut_short_are_refused():
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "JPEG2000"):
        data = encoded(noise(64, 64), kind)
        with pytest.raises(ValueError, match="^x: not a readable picture: ") as error:
            load(data[: len(data) // 2])
        assert "\n" not in str(error.value)


def test_text_after_the_pixels_may_be_cut_short():
    data = with_chunks(encoded(PIXELS), (b"tEXt", b"a\0" + bytes(99)))
    np.testing.assert_array_equal(load(data[:-40]), PIXELS)


def test_an_image_opened_by_pillow_may_have_much_text_after_its_pixels():
    plain = encoded(PIXELS)
    text = with_chunks(plain, ODD_PNG["much text"])[len(plain) - 12 + 2 :]  # more than one half
    data = plain[:-12] + text[text.index(b"zTXt") - 4 :]
    with pytest.raises(ValueError, match="too large"):
        Image.open(io.BytesIO(data)).load()
    image = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(picture_file.upright(image, "x"), PIXELS)
    cut = Image.open(io.BytesIO(plain[:-80]))
    with pytest.raises(ValueError, match="x: not a readable picture"):
        picture_file.upright(cut, "x")


def test_only_our_limit_speaks(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"):
        assert load(encoded(PIXELS, kind)).size == (12, 8)
    assert Image.MAX_IMAGE_PIXELS == 10
    wide = encoded(Image.new("1", (20_000, 1)))
    huge = wide.replace(struct.pack(">II", 20_000, 1), struct.pack(">II", 20_001, 10_000))
    huge = huge[:29] + struct.pack(">I", zlib.crc32(huge[12:29])) + huge[33:]
    with pytest.raises(picture_file.TooLarge, match="x: 20001x10000 pixels: expected at most"):
        load(huge)  # the file has no pixels: its size is checked before they are decoded
    assert picture_file.MAX_PIXELS == 200e6


def test_no_warning_of_pillows_is_seen():
    data = encoded(Image.new("RGBA", (16, 16)), "ICO")
    odd = data[:6] + b"\x09\x09" + data[8:]  # another size than the picture in it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = [threading.Thread(target=load, args=(odd,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert load(odd).size == (16, 16)
        assert warnings.filters[0][0] == "error"


def test_files_that_are_no_pictures_are_named():
    for data, words in (
        (b"", "the file is empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC.*heif-convert"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "PostScript"),
        (b"\0\0\1\xb3" + bytes(9), "a video"),
        (b"\x01\x02\x03\xfe\xff", "of no known format"),
    ):
        with pytest.raises(UnknownFormat, match=f"x: not a readable picture: {words}"):
            load(data)


def test_deep_tiffs_are_read_where_any_samples_do():
    data = encoded(np.ones((2, 2), np.float32), "TIFF")
    with pytest.raises(UnknownFormat, match="32-bit float samples: convert it to 8 bits"):
        load(data)
    assert load(data, any_samples=True).mode == "F"
    colours = bytearray(encoded(noise(4, 4), "TIFF"))
    at = colours.index(struct.pack("<HHI", 258, 3, 3)) + 8
    place = struct.unpack_from("<I", colours, at)[0]
    colours[place : place + 6] = struct.pack("<HHH", 12, 12, 12)
    with pytest.raises(UnknownFormat, match="12-bit samples"):
        load(bytes(colours))
    with pytest.raises(UnknownFormat, match="of an unusual kind"):
        load(bytes(colours), any_samples=True)
