import io

import numpy as np
import pytest
from PIL import Image

from jaxedit.data import photo


def noise(width, height, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    Image.fromarray(noise(20, 10)).save(tmp_path / "a.png", exif=exif)
    upright = photo.read(tmp_path / "a.png")
    np.testing.assert_array_equal(upright, np.rot90(noise(20, 10), -1))


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


def test_sixteen_bits_keep_their_range(tmp_path):
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(photo.read(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 1, 128, 255]


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
    with pytest.raises(ValueError, match="mode F"):
        photo.to_rgb(Image.new("F", (2, 2)))


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
