import io

import numpy as np
from PIL import Image

from jaxedit.data import toybox
from jaxedit.datasets.near_duplicates.perceptual_hash import hashes, perceptual_hash


def scene(index):
    return Image.fromarray(toybox.make(0, index, 2).source)


def apart(a, b):
    return (perceptual_hash(a) ^ perceptual_hash(b)).bit_count()


def test_a_wave_by_hand():
    """Use half a period over the width: only frequency 1 is large, and the mean is larger."""
    x = np.cos((np.arange(32) + 0.5) * np.pi / 32)
    picture = Image.fromarray(np.tile(np.uint8(128 + 100 * x), (32, 1)))
    bits = perceptual_hash(picture)
    assert bits >> 62 == 0b11  # the mean and one wave across
    assert apart(picture, picture.transpose(Image.Transpose.ROTATE_90)) > 0


def test_half_of_the_bits_are_set():
    assert {perceptual_hash(scene(i)).bit_count() for i in range(20)} == {32}


def test_compression_and_size_change_few_bits():
    for i in range(20):
        file = io.BytesIO()
        scene(i).resize((256, 256)).save(file, "JPEG", quality=60)
        assert apart(scene(i), Image.open(file)) <= 4


def test_other_pictures_are_far_away():
    distances = [apart(scene(i), scene(j)) for i in range(20) for j in range(i)]
    assert min(distances) > 4 and np.median(distances) > 20


def test_the_middle_square_has_a_hash_of_its_own():
    wide = Image.new("RGB", (256, 128), "white")
    wide.paste(scene(0), (64, 0))
    assert perceptual_hash(scene(0)) in hashes(wide)
    assert len(hashes(wide)) == 2 and len(hashes(scene(0))) == 1


def test_pillows_own_limit_plays_no_part(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert len(hashes(scene(0).resize((200, 100)))) == 2


def test_bits_of_earlier_versions():
    """Compare with the bits of the implementation before imagehash."""
    assert [perceptual_hash(scene(i)) for i in range(3)] == [
        0xDAADDA2D52D2A452,
        0xF89DCC0770F09366,
        0xCCAD1A6CDE932352,
    ]


def test_a_flat_picture_has_its_mean_alone():
    assert perceptual_hash(Image.new("L", (64, 64), 7)) == 1 << 63
