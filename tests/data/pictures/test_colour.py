import io

import numpy as np
import pytest
from fabricate_pictures import ADOBE_RGB, DISPLAY_P3, SRGB, grey_profile, ink_profile, noise
from PIL import Image, ImageCms, features

from jaxedit import warn_once
from jaxedit.data.pictures import colour


def pixel(mode, value, profile):
    return colour.to_srgb(Image.new(mode, (2, 1), value), profile).getpixel((0, 0))


def test_profiles_by_hand():
    # Grey of gamma 1: 128/255 = 0.502 is light itself; sRGB of it is 1.055 * 0.502^(1/2.4) - 0.055.
    assert pixel("L", 128, grey_profile(1.0)) == (188, 188, 188)
    assert pixel("RGB", (255, 255, 255), DISPLAY_P3) == (255, 255, 255)
    assert pixel("RGB", (100, 150, 50), DISPLAY_P3)[2] < 20  # a green that sRGB barely holds
    assert pixel("RGB", (100, 150, 50), ADOBE_RGB)[0] < 75
    # One ink of four at full: L* = 66.7, Y = ((66.7 + 16) / 116)^3 = 0.362, 162 in sRGB.
    assert pixel("CMYK", (255, 0, 0, 0), ink_profile()) == pytest.approx((162, 162, 162), abs=1)
    assert pixel("CMYK", (0, 0, 0, 0), ink_profile()) == pytest.approx((255, 255, 255), abs=1)


def test_palettes_and_others_have_profiles_too():
    image = Image.new("RGB", (2, 1), (100, 150, 50))
    wanted = pixel("RGB", (100, 150, 50), ADOBE_RGB)
    for mode in ("P", "YCbCr", "RGBX"):
        found = colour.to_srgb(image.convert(mode), ADOBE_RGB).getpixel((0, 0))
        assert found == pytest.approx(wanted, abs=4)  # a palette is coarse
    assert pixel("1", 1, grey_profile(1.0)) == (255, 255, 255)


def test_profiles_are_converted_as_by_littlecms():
    image = Image.fromarray(noise(20, 10))
    given = ImageCms.ImageCmsProfile(io.BytesIO(DISPLAY_P3))
    wanted = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"))
    np.testing.assert_array_equal(colour.to_srgb(image, DISPLAY_P3), wanted)


@pytest.mark.parametrize(
    "profile",
    [
        None,
        b"",
        SRGB,
        b"no profile",
        DISPLAY_P3[:200],
        bytes(500),
        grey_profile(1.0),
        ink_profile(),
    ],
    ids=["none", "empty", "srgb", "text", "cut", "zeros", "grey", "inks"],
)
def test_profiles_of_srgb_and_damaged_ones_and_those_of_others_change_nothing(profile):
    pixels = noise(20, 10)
    np.testing.assert_array_equal(colour.to_srgb(Image.fromarray(pixels), profile), pixels)


def test_a_pillow_without_littlecms_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(features, "check", lambda name: False)
    colour._transform.cache_clear()
    warn_once.forget()
    for profile in (DISPLAY_P3, ADOBE_RGB):
        assert pixel("RGB", (1, 2, 3), profile) == (1, 2, 3)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "colour profiles of pictures are ignored"
    ]
    colour._transform.cache_clear()
