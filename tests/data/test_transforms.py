import copy
import dataclasses

import numpy as np
import pytest
from PIL import Image

from jaxedit.config import EDITAR_PRESETS, PRESETS, ConfigError, PretrainedConfig, llamagen
from jaxedit.data.pictures import photo
from jaxedit.data.transforms import (
    CROP,
    CROPS,
    Fit,
    cover_crop,
    fit_of,
    from_square,
    square_pair,
    to_square,
)

PAD, EDITAR = Fit("pad", "editar"), Fit("crop", "editar")
KEPT = EDITAR._replace(keep_size=True)


def picture(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", [(96, 64), (64, 101), (200, 64), (64, 64), (40, 57)])
def test_equals_resizing_the_whole_and_cropping(size):
    image = picture(*size)
    short = min(size)
    wide, high = (64 * s // short for s in size)
    left, top = (wide - 64) // 2, (high - 64) // 2
    whole = image.resize((wide, high), Image.Resampling.LANCZOS)
    expected = whole.crop((left, top, left + 64, top + 64))
    np.testing.assert_array_equal(np.asarray(cover_crop(image, 64)), np.asarray(expected))


def test_a_square_of_the_right_size_stays():
    image = picture(64, 64)
    np.testing.assert_array_equal(np.asarray(cover_crop(image, 64)), np.asarray(image))


def test_the_middle_by_hand():
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = 200
    assert (np.asarray(cover_crop(Image.fromarray(pixels), 4)) == 200).all()


@pytest.mark.parametrize("i", range(6))
def test_squares_of_editar_and_llamagen(golden, i):
    arrays, _ = golden("editar_preprocess")
    image, tensor = photo.to_rgb(arrays[f"in/image{i}"]), arrays[f"out/tensor{i}"]
    side = tensor.shape[1]
    editar = np.asarray(CROPS["editar"](image, side)).transpose(2, 0, 1)
    np.testing.assert_allclose(editar.astype(np.float32) / 255 * 2 - 1, tensor, atol=1e-6)
    llamagen = np.asarray(CROPS["llamagen"](image, side))
    np.testing.assert_array_equal(llamagen, arrays[f"out/adm_center_crop{i}"])


def test_long_sides_are_rounded_or_truncated():
    image = picture(100, 67)  # 95.5 pixels wide at 64
    plain, rounded = (np.asarray(CROPS[name](image, 64)) for name in ("varedit", "editar"))
    whole = image.resize((96, 64), Image.Resampling.LANCZOS).crop((16, 0, 80, 64))
    np.testing.assert_array_equal(rounded, np.asarray(whole))
    assert (plain != rounded).any()


def test_long_pictures_are_nearly_the_same():
    image = picture(64 * 9, 64).resize((640, 80), Image.Resampling.BICUBIC)
    whole = image.resize((512, 64), Image.Resampling.LANCZOS).crop((224, 0, 288, 64))
    longer = Image.new("RGB", (800, 80))
    longer.paste(image, (80, 0))
    square = np.asarray(cover_crop(longer, 64), int)
    np.testing.assert_allclose(square, np.asarray(whole, int), atol=2)


@pytest.mark.parametrize("crop", CROPS)
def test_masks_have_two_values(crop):
    mask = Image.new("L", (200, 90))
    mask.paste(255, (100, 0, 200, 90))
    square = np.asarray(square_pair(mask, mask, mask, 32, Fit("crop", crop))[2])
    assert set(np.unique(square)) == {0, 255} and abs(square.mean() / 255 - 0.5) < 0.04


def test_narrow_pictures_take_little_memory():
    assert cover_crop(picture(30_000, 1), 256).size == (256, 256)


def test_pairs_stay_aligned():
    source = picture(90, 60)
    mask = Image.new("L", (45, 30))
    mask.paste(255, (0, 0, 45, 15))
    a, b, m = square_pair(source, source.resize((180, 120), 0), mask, 32, CROP)
    assert a.size == b.size == m.size == (32, 32)
    assert set(np.unique(np.asarray(m))) == {0, 255}
    assert (np.asarray(m)[:16] == 255).all() and (np.asarray(m)[16:] == 0).all()
    assert square_pair(source, source, None, 32, CROP)[2] is None


def test_pairs_are_padded_together():
    source = picture(60, 30)
    mask = Image.new("L", (60, 30), 255)
    a, b, m = square_pair(source, source.resize((30, 30)), mask, 30, PAD)
    assert (np.asarray(a)[19:] == 255).all() and (np.asarray(b)[19:] == 255).all()
    assert (np.asarray(m)[:15] == 255).all() and not np.asarray(m)[15:].any()
    np.testing.assert_array_equal(a, to_square(source, 30, PAD))


@pytest.mark.parametrize("size", [(100, 70), (70, 100), (64, 64), (1, 1), (33, 200), (513, 3)])
def test_padding_in_strips_equals_the_release(size):
    image = picture(*size)
    side = max(size)
    white = Image.new("RGB", (side, side), "white")
    white.paste(image, (0, 0))
    square = np.asarray(white.resize((64, 64), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(to_square(image, 64, PAD), square)
    back = Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(from_square(square, image, PAD), back.crop((0, 0, *size)))


@pytest.mark.parametrize("fit", [PAD, CROP, EDITAR, KEPT])
def test_a_square_of_the_models_size_is_untouched(fit):
    image = picture(64, 64)
    square = np.asarray(to_square(image, 64, fit))
    np.testing.assert_array_equal(square, image)
    np.testing.assert_array_equal(from_square(square, image, fit), image)


@pytest.mark.parametrize("side", [40, 100, 257])
def test_squares_of_other_sizes_are_the_same_padded_and_cropped(side):
    squares = [np.asarray(to_square(picture(side, side), 64, fit)) for fit in (PAD, EDITAR)]
    np.testing.assert_array_equal(*squares)


def test_a_very_narrow_picture_is_still_padded():
    image = Image.new("RGB", (8000, 10))
    square = np.asarray(to_square(image, 64, PAD))
    assert square[0, 0, 0] < 255 and (square[4:] == 255).all()
    assert from_square(square, image, PAD).size == (8000, 10)


@pytest.mark.parametrize("size", [(96, 64), (30, 97), (1000, 1), (1, 1), (11, 10), (65, 64)])
def test_a_cropped_square_stays_one_unless_the_size_is_kept(size):
    image, pixels = picture(*size), np.asarray(picture(64, 64, seed=1))
    np.testing.assert_array_equal(from_square(pixels, image, EDITAR), pixels)
    assert from_square(pixels, image, KEPT).size == size


def test_the_borders_are_the_pictures_own():
    image, red = picture(96, 64), np.full((64, 64, 3), (255, 0, 0), np.uint8)
    kept = np.asarray(from_square(red, image, KEPT))
    assert (kept[:, 16:80] == (255, 0, 0)).all()
    image.info["icc_profile"] = b"of the file, not of the edit"
    assert not from_square(red, image, KEPT).info
    for border in (np.s_[:, :16], np.s_[:, 80:]):
        np.testing.assert_array_equal(kept[border], np.asarray(image)[border])


def test_a_square_is_put_back_where_it_was():
    """By hand: 4000x3000 becomes 683x512, cut at column 85, which is column 498 of 4000."""
    x = np.linspace(0, 255, 4000)
    image = Image.fromarray(np.tile(x.astype(np.uint8)[None, :, None], (3000, 1, 3)))
    square = to_square(image, 512, EDITAR)
    kept = from_square(np.asarray(square), image, KEPT)
    difference = np.abs(np.asarray(kept, int) - np.asarray(image, int))
    assert difference.max() <= 1
    white = np.full((512, 512, 3), 255, np.uint8)
    changed = (np.asarray(from_square(white, image, KEPT)) != np.asarray(image)).any((0, 2))
    assert np.flatnonzero(changed)[0] == 498 and kept.size == (4000, 3000)


@pytest.mark.parametrize("rule", CROPS)
def test_the_region_lies_in_the_picture(rule):
    """A black square changes every pixel of its region, and no other."""
    fit, black = Fit("crop", rule, keep_size=True), np.zeros((24, 24, 3), np.uint8)
    for width in (1, 2, 7, 23, 24, 25, 26, 27, 31, 50, 173):
        for height in (1, 3, 24, 25, 40):
            white = Image.new("RGB", (width, height), "white")
            changed = np.asarray(from_square(black, white, fit))[..., 0] == 0
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            short = min(width, height)
            slack = short / 48 + 1  # the long side was rounded to whole pixels
            assert changed.sum() == len(rows) * len(columns)
            for found, n in ((rows, height), (columns, width)):
                assert abs(len(found) - short) <= slack
                assert abs(found[0] - (n - len(found)) / 2) <= slack


def test_every_type_of_model_has_its_way():
    ways = {
        "varedit": (PRESETS["tiny"], Fit("pad", "varedit")),
        "editar": (EDITAR_PRESETS["tiny"], EDITAR),
        "bsq": (PretrainedConfig(model_type="bsq"), CROP),
        "vq": (PretrainedConfig(model_type="vq"), Fit("crop", "llamagen")),
    }
    for model, expected in ways.values():
        assert fit_of(model) == expected
    text = dataclasses.replace(copy.deepcopy(EDITAR_PRESETS["xl"]), editar=llamagen("b"))
    assert fit_of(text).rule == "llamagen"
    assert fit_of(PRESETS["tiny"], "crop", keep_size=True) == Fit("crop", "varedit", True)
    for wrong in ("square", "PAD", 3):
        with pytest.raises(ConfigError, match=f"fit={wrong!r}: expected pad or crop"):
            fit_of(PRESETS["tiny"], wrong)
