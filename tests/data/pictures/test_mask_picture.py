import numpy as np
import pytest
from fabricate_pictures import encoded, noise
from PIL import Image

from jaxedit.data.pictures import mask_picture

REGION = np.zeros((6, 9), bool)
REGION[1:4, 2:7] = True


def palette(first, second):
    image = Image.fromarray(REGION.astype(np.uint8), mode=None).convert("P")
    image.putdata(REGION.astype(np.uint8).reshape(-1).tolist())
    image.putpalette([*first, *second])
    return image


def painted(colour, opacity, *, around=(0, 0, 0)):
    pixels = np.zeros((*REGION.shape, 4), np.uint8)
    pixels[..., :3] = np.where(REGION[..., None], colour, around)
    pixels[..., 3] = opacity
    return pixels


MASKS = {
    "black and white": REGION * np.uint8(255),
    "0 and 1": REGION.astype(np.uint8),
    "1 bit": Image.fromarray(REGION),
    "palette black and white": palette((0, 0, 0), (255, 255, 255)),
    "palette of labels": palette((0, 0, 0), (128, 0, 0)),
    "16 bits": REGION * np.uint16(65535),
    "0 and 1 of 16 bits": REGION.astype(np.uint16),
    "0 and 255 of 16 bits": REGION * np.uint16(255),
    "colours": np.where(REGION[..., None], 255, [0, 0, 40]).astype(np.uint8),
    "grey edges": np.where(REGION, noise(9, 6, 1) // 4 + 180, noise(9, 6, 1) // 4).astype(np.uint8),
    "white on nothing": painted((255, 255, 255), REGION * np.uint8(255)),
    "red on nothing": painted((255, 0, 0), REGION * np.uint8(255), around=(255, 255, 255)),
    "opacity alone": painted((0, 0, 0), REGION * np.uint8(255)),
    "white on black, opaque": painted((255, 255, 255), np.uint8(255)),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_every_kind(name):
    mask = mask_picture.decode(encoded(MASKS[name]), name)
    assert mask.mode == "L"
    np.testing.assert_array_equal(mask, REGION * np.uint8(255))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_masks_of_numbers(dtype, tmp_path):
    Image.fromarray(REGION.astype(dtype)).save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(mask_picture.read(tmp_path / "mask.tif"), REGION * np.uint8(255))


def test_masks_of_one_value():
    for value, marked in ((0, 0), (1, 255), (255, 255)):
        mask = mask_picture.decode(encoded(np.full((4, 4), value, np.uint8)), "mask")
        assert (np.asarray(mask) == marked).all()
    clear = mask_picture.decode(encoded(np.zeros((4, 4, 4), np.uint8)), "mask")
    assert not np.asarray(clear).any()


def test_dark_pictures_of_many_values_mark_nothing():
    assert not np.asarray(mask_picture.decode(encoded(noise(9, 6, 1) // 4), "mask")).any()


def test_what_is_no_picture_is_refused(tmp_path):
    with pytest.raises(ValueError, match="m.png: not a readable picture: text"):
        mask_picture.decode(b"hello", "m.png")
    with pytest.raises(OSError, match="absent"):
        mask_picture.read(tmp_path / "absent.png")
