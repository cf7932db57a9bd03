import logging

import numpy as np
import pytest
from fabricate_pictures import encoded
from PIL import Image

from jaxedit.config import ConfigError
from jaxedit.data import given_mask
from jaxedit.data.transforms import Fit

REGION = np.zeros((6, 9), bool)
REGION[1:4, 2:7] = True
PAD, CROP = Fit("pad", "varedit"), Fit("crop", "editar")


def painted(colour, opacity):
    pixels = np.zeros((*REGION.shape, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = colour, opacity
    return pixels


WHITE = REGION * np.uint8(255)
GIVEN = {
    "white on black": (WHITE, "white"),
    "light grey on dark grey": (np.where(REGION, np.uint8(128), np.uint8(127)), "white"),
    "1 bit": (Image.fromarray(REGION), "white"),
    "16 bits": (REGION * np.uint16(65535), "white"),
    "colours": (np.stack([WHITE] * 3, -1), "white"),
    "opaque alpha": (painted(WHITE[..., None], 255), "white"),
    "a hole in a picture": (painted((30, 200, 30), 255 - WHITE), "transparent"),
    "soft edges": (painted(0, np.where(REGION, 100, 200)), "transparent"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_conventions_are_told_apart(name, tmp_path):
    picture, convention = GIVEN[name]
    (tmp_path / "m.png").write_bytes(encoded(picture))
    mask = given_mask.read(tmp_path / "m.png")
    np.testing.assert_array_equal(mask.pixels, REGION)
    assert mask.convention == convention and mask.name.endswith("m.png")
    assert given_mask.read(mask) is mask


def test_arrays_and_pictures():
    for given in (REGION, WHITE, Image.fromarray(WHITE)):
        np.testing.assert_array_equal(given_mask.read(given).pixels, REGION)
    for bad in (REGION.astype(float), REGION[0], np.zeros((2, 2, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"expected a path, a PIL image, bool\[H,W\]"):
            given_mask.read(bad)


def test_a_mask_of_another_size(caplog):
    big = given_mask.read(np.kron(REGION, np.ones((4, 4), bool)))
    np.testing.assert_array_equal(given_mask.fit_to(big, (9, 6)).pixels, REGION)
    (said,) = caplog.messages
    assert said == "mask: 36x24 pixels, the picture has 9x6: the mask is resized"
    with pytest.raises(ConfigError, match="mask: 36x24 pixels, the picture has 9x9: expected"):
        given_mask.fit_to(big, (9, 9))


def test_empty_and_full_masks(caplog):
    hint = {"white": "no pixel is lighter", "transparent": "no pixel is over half transparent"}
    for convention, words in hint.items():
        empty = given_mask.GivenMask(REGION & False, convention, "m.png")
        with pytest.raises(ConfigError, match=f"m.png: an empty mask: {words}"):
            given_mask.fit_to(empty, (9, 6))
    caplog.set_level(logging.WARNING)
    assert given_mask.fit_to(given_mask.read(REGION | True), (9, 6)) is None
    assert caplog.messages == ["mask: a full mask: the same as no mask"]


@pytest.mark.parametrize("shape", [(600, 400), (400, 600), (35, 35), (33, 70), (7, 5), (3, 200)])
@pytest.mark.parametrize("fit", [PAD, CROP])
def test_no_marked_pixel_is_missed(shape, fit):
    size, rng = 32, np.random.default_rng(0)
    height, width = shape
    side = max(shape) if fit == PAD else min(shape)
    for _ in range(8):
        pixels = np.zeros(shape, bool)
        top, left = ((n - min(n, side)) // 2 for n in shape)
        y, x = top + rng.integers(min(height, side)), left + rng.integers(min(width, side))
        pixels[y, x] = True
        square = given_mask.square_of(given_mask.read(pixels), size, fit)
        assert square.any() and square.sum() <= max(9, 4 * (size / side) ** 2)
        if fit == PAD:
            rows, columns = np.nonzero(square)
            assert abs(rows.mean() - (y + 0.5) * size / side) <= 1 + size / side
            assert abs(columns.mean() - (x + 0.5) * size / side) <= 1 + size / side


def test_a_mask_beside_the_middle_square():
    pixels = np.zeros((10, 30), bool)
    pixels[:, :5] = True
    with pytest.raises(ConfigError, match="marks nothing in the middle square"):
        given_mask.square_of(given_mask.read(pixels), 8, CROP)


def test_the_seam_lies_inside_the_mask():
    source = Image.new("RGB", (9, 5), (10, 20, 30))
    edit = Image.new("RGB", (9, 5), (110, 220, 130))
    mask = np.zeros((5, 9), bool)
    mask[:, 2:] = True  # open at the picture's right, upper and lower border
    hard = np.asarray(given_mask.compose(edit, source, mask, 0))
    np.testing.assert_array_equal(hard, np.where(mask[..., None], edit, source))
    soft = np.asarray(given_mask.compose(edit, source, mask, 3))
    assert (soft == soft[:1]).all()
    assert soft[0, :, 0].tolist() == [10, 10, 35, 60, 85, 110, 110, 110, 110]


def test_width_of_the_seam():
    assert [given_mask.default_feather((n, 10)) for n in (16, 128, 512, 4000)] == [0, 1, 4, 31]
