import math

import numpy as np
import pytest

from jaxedit.evaluate.scores import SCORES
from jaxedit.evaluate.scores.pair import Pair
from jaxedit.evaluate.scores.ssim import ms_ssim, ssim

CASES = ("square", "wide", "identical", "clean_background", "full_mask", "border_only_mask")
PARTS = {"": "", "_background": "_unedit_part", "_edited": "_edit_part"}  # ours, PnPInversion's


@pytest.mark.parametrize("case", CASES)
def test_equals_torchmetrics_with_and_without_crop(golden, make_edit, case):
    arrays, description = golden("metrics_pixel")
    edit = make_edit(
        *(arrays[f"{case}.{name}"] for name in ("src", "tgt")), mask=arrays[f"{case}.mask"]
    )
    for ours, theirs in PARTS.items():
        for name, golden_name in (("ssim", "ssim"), ("ssim_crop", "ssim_crop5")):
            expected = float(description["cases"][case][golden_name + theirs])
            [found] = SCORES[name + ours].compute([edit], None)
            assert found == pytest.approx(expected, rel=0, abs=5e-5, nan_ok=True), name + ours


def test_ms_ssim_equals_torchmetrics(golden):
    arrays, description = golden("metrics_pixel")
    pairs = {
        "ms_rgb": (arrays["ms_rgb.a"], arrays["ms_rgb.b"]),
        "edges": (arrays["edges.gt"][..., None], arrays["edges.pred"][..., None]),
    }
    for case, (a, b) in pairs.items():
        expected = description[case]
        if a.max() == 1:  # edges are stored as truth values
            a, b = a * np.uint8(255), b * np.uint8(255)
        pair = Pair(a, b)
        assert ms_ssim(pair) == pytest.approx(expected["ms_ssim"], abs=1e-5)
        old = expected["ms_ssim_torchmetrics_le_1.4.1"]
        assert ms_ssim(pair, is_cropped=True) == pytest.approx(old, abs=1e-5)
    assert ssim(Pair(*pairs["ms_rgb"])) == pytest.approx(description["ms_rgb"]["ssim"], abs=5e-5)


def test_flat_pictures_by_hand():
    """Only the luminance term differs from 1."""
    a, b = np.full((20, 24, 3), 51, np.uint8), np.full((20, 24, 3), 102, np.uint8)
    expected = (2 * 0.2 * 0.4 + 1e-4) / (0.2**2 + 0.4**2 + 1e-4)
    assert ssim(Pair(a, b)) == pytest.approx(expected, abs=2e-4)
    assert ssim(Pair(a, b)) == ssim(Pair(b, a))


def test_opposite_pictures_are_not_similar_at_any_scale(noise):
    a = noise(170, 170)
    assert ssim(Pair(a, 255 - a)) < 0
    assert ms_ssim(Pair(a, 255 - a)) == 0
    assert ms_ssim(Pair(a, a)) == pytest.approx(1)


def test_small_pictures_have_no_five_scales(noise):
    assert math.isnan(ms_ssim(Pair(noise(160, 200), noise(160, 200))))
    assert ms_ssim(Pair(noise(161, 161), noise(161, 161))) >= 0
    assert math.isnan(ssim(Pair(noise(10, 40), noise(10, 40)), is_cropped=True))
