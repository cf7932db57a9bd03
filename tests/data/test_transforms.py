import numpy as np
import pytest
from PIL import Image

from jaxedit.data.transforms import cover_crop, crop_pair


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
    expected = np.asarray(whole.crop((left, top, left + 64, top + 64)), int)
    np.testing.assert_allclose(np.asarray(cover_crop(image, 64), int), expected, atol=2)


def test_a_square_of_the_right_size_stays():
    image = picture(64, 64)
    np.testing.assert_array_equal(np.asarray(cover_crop(image, 64)), np.asarray(image))


def test_the_middle_by_hand():
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = 200
    assert (np.asarray(cover_crop(Image.fromarray(pixels), 4)) == 200).all()


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
