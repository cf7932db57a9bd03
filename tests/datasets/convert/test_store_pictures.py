import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from jaxedit.datasets.convert import store_pictures
from jaxedit.datasets.readers.example import Example


def noise(width, height, channels=3):
    shape = (height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def encode(image, kind="PNG", **options):
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, kind, **options)
    return file.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data))


def convert(source, target=None, mask=None, *, store_px=64, keeps_labels=False):
    pair = Example("k", source, source if target is None else target, "snow", mask)
    return store_pictures.convert(pair, store_px=store_px, keeps_labels=keeps_labels)


@pytest.mark.parametrize(
    ("size", "stored"),
    [
        ((1024, 768), (683, 512)),  # 1024 * 512 / 768 = 682.67
        ((768, 1024), (512, 683)),
        ((512, 512), (512, 512)),
        ((600, 400), (600, 400)),  # never enlarged
        ((513, 4000), (512, 3992)),
    ],
)
def test_the_short_side_is_stored_at_a_given_size(size, stored):
    assert store_pictures.stored_size(size, 512) == stored


def test_pictures_take_one_size():
    mask = np.zeros((50, 75), np.uint8)
    mask[:25] = 200
    made = convert(encode(noise(192, 128)), encode(noise(100, 100)), encode(mask))
    source, target, region = opened(made.source), opened(made.target), opened(made.mask)
    assert source.size == target.size == region.size == (96, 64)
    assert made.orig_hw == (128, 192)
    assert (source.format, target.format, region.format) == ("JPEG", "JPEG", "PNG")
    assert JpegImagePlugin.get_sampling(source) == 0  # 4:4:4
    assert region.mode == "L"
    pixels = np.asarray(region)
    assert (pixels[:32] == 255).all() and (pixels[32:] == 0).all()
    assert convert(encode(noise(64, 64))).mask is None


def test_masks_of_0_and_1_are_read_as_masks():
    mask = np.zeros((40, 40), np.uint8)
    mask[:20] = 1
    stored = np.asarray(opened(convert(encode(noise(40, 40)), mask=encode(mask)).mask))
    assert (stored[:20] == 255).all() and (stored[20:] == 0).all()


def test_pictures_are_resized_by_lanczos():
    image = Image.fromarray(noise(8, 8)).resize((128, 128), Image.Resampling.BICUBIC)
    stored = np.asarray(opened(convert(encode(image)).source)).astype(int)
    wanted = np.asarray(image.resize((64, 64), Image.Resampling.LANCZOS)).astype(int)
    assert abs(stored - wanted).mean() < 1.5


def test_label_maps_lose_nothing():
    labels = np.zeros((96, 96, 3), np.uint8)
    labels[:, 33:] = (0, 60, 250)
    labels[40:, 71:] = (255, 8, 1)
    made = convert(encode(labels), encode(noise(96, 96)), store_px=48, keeps_labels=True)
    stored = opened(made.source)
    assert stored.format == "PNG" and stored.size == (48, 48)
    colours = {tuple(c) for c in np.asarray(stored).reshape(-1, 3).tolist()}
    assert colours == {(0, 0, 0), (0, 60, 250), (255, 8, 1)}
    assert opened(made.target).format == "JPEG"


def test_orientation_transparency_and_depth():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    turned = convert(encode(noise(60, 40), exif=exif))
    assert opened(turned.source).size == (40, 60) and turned.orig_hw == (60, 40)
    clear = np.zeros((40, 40, 4), np.uint8)
    assert np.asarray(opened(convert(encode(clear)).source)).min() > 250  # over white
    ink = Image.new("CMYK", (40, 40), (0, 0, 0, 0))
    assert np.asarray(opened(convert(encode(ink, "JPEG")).source)).min() > 250
    deep = np.full((40, 40), 32896, np.uint16)
    assert abs(np.asarray(opened(convert(encode(deep)).source)).astype(int) - 128).max() < 3


whole = encode(noise(40, 40))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a picture"),
        (b"<html>404</html>", "not a picture"),
        (whole[: len(whole) // 2], "damaged"),
        (encode(noise(40, 40), "JPEG")[:600], "damaged"),
        (encode(Image.new("1", (40_000, 20))), "too large"),
        (encode(noise(3, 20)), "too small"),
        (encode(noise(20, 200)), "too narrow"),
    ],
)
def test_unusable_pictures_are_named_in_few_words(data, reason):
    for name, pair in (
        ("source", (data, whole)),
        ("target", (whole, data)),
        ("mask", (whole, whole, data)),
    ):
        with pytest.raises(store_pictures.Unusable, match=f"^{name} {reason}$"):
            convert(*pair)
