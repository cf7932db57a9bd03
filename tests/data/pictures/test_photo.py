import io
import struct

import numpy as np
import pytest
from fabricate_pictures import DISPLAY_P3, encoded, exif, noise, png_of, turned
from PIL import Image

from jaxedit import warn_once
from jaxedit.data.pictures import colour, photo


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    Image.fromarray(noise(20, 10)).save(tmp_path / "a.png", exif=exif)
    upright = photo.read(tmp_path / "a.png")
    np.testing.assert_array_equal(upright, np.rot90(noise(20, 10), -1))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(photo.to_rgb(image), upright)
        np.testing.assert_array_equal(photo.to_rgb(image.convert("RGBA")), upright)
    np.testing.assert_array_equal(photo.decode((tmp_path / "a.png").read_bytes(), "a.png"), upright)


def test_transparency_becomes_white():
    pixels = noise(4, 4, 4)
    pixels[..., 3] = [[0, 255, 0, 255]] * 4
    rgb = np.asarray(photo.to_rgb(pixels))
    assert (rgb[:, 0] == 255).all() and (rgb[:, 1] == pixels[:, 1, :3]).all()
    pixels[0, 0] = (0, 100, 255, 51)  # a fifth: 255 - 51, 255 - 31, 255
    assert np.asarray(photo.to_rgb(pixels))[0, 0].tolist() == [204, 224, 255]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    palette.info["transparency"] = 0
    assert np.asarray(photo.to_rgb(palette)).tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize(
    ("depth", "kind", "row", "transparent", "seen"),
    [
        (1, 0, b"\x40", [1], [0, 255, 0, 0]),
        (2, 0, b"\x1b", [2], [0, 85, 255, 255]),
        (8, 0, b"\0\1\2\3", [2], [0, 1, 255, 3]),
        (16, 0, struct.pack(">4H", 0, 257, 258, 25700), [258], [0, 1, 255, 100]),
        (8, 2, bytes(range(12)), [3, 4, 5], [0, 255, 6, 9]),
        (8, 2, bytes(range(12)), [3, 4, 6], [0, 3, 6, 9]),
    ],
)
def test_a_transparent_value_becomes_white(depth, kind, row, transparent, seen):
    data = png_of(depth, kind, row, transparent, width=4)
    assert np.asarray(photo.decode(data, "x"))[0, :, 0].tolist() == seen


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_every_mode_that_may_be_transparent(mode):
    assert np.asarray(photo.to_rgb(Image.new(mode, (2, 2)))).min() == 255


def test_colour_profiles_are_converted_before_transparency_is():
    pixels = noise(6, 4, 4)
    pixels[..., 3] = [[0, 51, 255, 255, 255, 255]] * 4
    wanted = np.asarray(colour.to_srgb(Image.fromarray(pixels[..., :3]), DISPLAY_P3))
    data = encoded(pixels, icc_profile=DISPLAY_P3)
    for image in (photo.decode(data, "x"), photo.to_rgb(Image.open(io.BytesIO(data)))):
        np.testing.assert_array_equal(np.asarray(image)[:, 2:], wanted[:, 2:])
        assert (np.asarray(image)[:, 0] == 255).all()
        assert image.info == {}  # without a profile, so that it is not converted again
    assert (np.asarray(photo.decode(encoded(pixels), "x")) != np.asarray(image)).any()


def test_a_picture_is_not_changed_itself():
    image = Image.fromarray(noise(3, 2))
    image.info |= {"exif": exif(turned(1)), "icc_profile": DISPLAY_P3, "dpi": (72, 72)}
    before, info = image.tobytes(), dict(image.info)
    assert photo.to_rgb(image).info == {}
    assert image.tobytes() == before and image.info == info


def test_sixteen_bits_keep_their_range(tmp_path):
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(photo.read(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 1, 128, 255]


DEPTH = np.float32([[0.5, 1.0], [2.5, np.nan], [np.inf, -np.inf]])
LEVELS = [[0, 64], [255, 0], [255, 0]]  # (1 - 0.5) / 2 * 255 = 63.75


def test_depth_maps_are_stretched(tmp_path, caplog):
    warn_once.forget()
    Image.fromarray(DEPTH).save(tmp_path / "d.tif")
    np.save(tmp_path / "d.npy", DEPTH.astype(np.float64))
    for given in (tmp_path / "d.tif", str(tmp_path / "d.npy")):
        assert np.asarray(photo.read(given, is_depth=True))[..., 1].tolist() == LEVELS
    for given in (DEPTH, DEPTH.astype(np.float16), Image.fromarray(DEPTH)):
        assert np.asarray(photo.to_rgb(given, is_depth=True))[..., 2].tolist() == LEVELS
    assert len(caplog.records) == 1 and "near is bright" in caplog.text


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_depth_maps_of_integers(dtype, tmp_path):
    Image.fromarray(np.array([[1000, 2000, 5000]], dtype)).save(tmp_path / "d.tif")
    assert np.asarray(photo.read(tmp_path / "d.tif", is_depth=True))[0, :, 0].tolist() == [
        *(0, 64, 255)
    ]


def test_depth_maps_of_eight_bits_stay():
    pixels = noise(6, 4)
    for given in (pixels, Image.fromarray(pixels)):
        np.testing.assert_array_equal(photo.to_rgb(given, is_depth=True), pixels)
    data = encoded(pixels, icc_profile=DISPLAY_P3)  # values, not colours
    np.testing.assert_array_equal(photo.to_rgb(Image.open(io.BytesIO(data)), is_depth=True), pixels)


def test_depth_maps_of_one_value_or_none(tmp_path):
    assert not np.asarray(photo.to_rgb(np.full((2, 2), 3.5), is_depth=True)).any()
    with pytest.raises(ValueError, match="without a finite value"):
        photo.to_rgb(np.full((2, 2), np.nan), is_depth=True)
    np.save(tmp_path / "d.npy", np.zeros((2, 2, 3)))
    for name, content in (("cut.npy", b"\x93NUMPY\1\0"), ("d.npy", None)):
        if content:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: not a depth map"):
            photo.read(tmp_path / name, is_depth=True)
    with pytest.raises(ValueError, match="a NumPy array"):
        photo.read(tmp_path / "d.npy")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr", "HSV", "RGBA", "I;16"])
def test_every_mode_is_read(mode):
    image = photo.to_rgb(Image.new(mode, (3, 2)))
    assert image.mode == "RGB" and image.size == (3, 2)


def test_arrays_are_checked():
    assert photo.to_rgb(noise(3, 2, 1)).size == (3, 2)
    for wrong in (
        np.zeros((2, 2, 3)),
        np.zeros((2, 2, 2), np.uint8),
        np.zeros((0, 2, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match="expected a path"):
            photo.to_rgb(wrong)
    with pytest.raises(ValueError, match="float samples, whose range is not known: convert it"):
        photo.to_rgb(Image.new("F", (2, 2)))
    with pytest.raises(ValueError, match="32-bit samples, whose range is not known"):
        photo.to_rgb(Image.fromarray(np.array([[-1, 70_000]], np.int32)))
    with pytest.raises(ValueError, match="image: 40000x1 pixels: expected at most 32768"):
        photo.to_rgb(np.zeros((1, 40_000), np.uint8))
    with pytest.raises(ValueError, match="image: 40000x1 pixels: expected at most 32768"):
        photo.to_rgb(Image.new("1", (40_000, 1)))


def test_bad_files_are_named_in_one_line(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(noise(50, 50)).save(whole, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole.getvalue()[:600])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name in ("cut.jpg", "text.jpg", "empty.jpg"):
        with pytest.raises(ValueError, match=f"{name}: not a readable picture") as error:
            photo.read(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(OSError, match="absent.jpg: No such file"):
        photo.read(tmp_path / "absent.jpg")
    with pytest.raises(OSError, match="expected a picture"):
        photo.read(tmp_path)


def test_huge_pictures_are_refused(tmp_path):
    Image.new("1", (40_000, 1)).save(tmp_path / "long.png")
    with pytest.raises(ValueError, match="long.png: 40000x1 pixels: expected at most 32768"):
        photo.read(tmp_path / "long.png")
    Image.new("1", (16_000, 16_000)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match="bomb.png"):
        photo.read(tmp_path / "bomb.png")
