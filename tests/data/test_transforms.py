import numpy as np
import pytest
from PIL import Image

from jaxedit.data import photo
from jaxedit.data.transforms import CROPS, cover_crop, crop_pair


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
    square = np.asarray(crop_pair(mask, mask, mask, 32, crop)[2])
    assert set(np.unique(square)) == {0, 255} and abs(square.mean() / 255 - 0.5) < 0.04


def test_narrow_pictures_take_little_memory():
    assert cover_crop(picture(30_000, 1), 256).size == (256, 256)


def test_pairs_stay_aligned():
    source = picture(90, 60)
    mask = Image.new("L", (45, 30))
    mask.paste(255, (0, 0, 45, 15))
    a, b, m = crop_pair(source, source.resize((180, 120), 0), mask, 32)
    assert a.size == b.size == m.size == (32, 32)
    assert set(np.unique(np.asarray(m))) == {0, 255}
    assert (np.asarray(m)[:16] == 255).all() and (np.asarray(m)[16:] == 0).all()
    assert crop_pair(source, source, None, 32)[2] is None
