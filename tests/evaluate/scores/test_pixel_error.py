import math

import numpy as np
import pytest

from jaxedit.evaluate.scores import SCORES
from jaxedit.evaluate.scores.pair import Pair
from jaxedit.evaluate.scores.pixel_error import l1, mse, psnr

CASES = ("square", "wide", "identical", "clean_background", "full_mask", "border_only_mask")
PARTS = {"": "", "_background": "_unedit_part", "_edited": "_edit_part"}  # ours, PnPInversion's


@pytest.mark.parametrize("case", CASES)
def test_equal_pnp_inversion_with_inf_and_nan(golden, make_edit, case):
    arrays, description = golden("metrics_pixel")
    edit = make_edit(
        *(arrays[f"{case}.{name}"] for name in ("src", "tgt")), mask=arrays[f"{case}.mask"]
    )
    for ours, theirs in PARTS.items():
        for score, tolerance in (("psnr", 1e-4), ("mse", 1e-7)):
            expected = float(description["cases"][case][score + theirs])
            [found] = SCORES[score + ours].compute([edit], None)
            assert found == pytest.approx(expected, rel=0, abs=tolerance, nan_ok=True), score + ours


def test_by_hand():
    a, b = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    b[0, 0] = (51, 0, 0)  # a fifth, in one of twelve values
    pair = Pair(a, b)
    assert l1(pair) == pytest.approx(0.2 / 12)
    assert mse(pair) == mse(Pair(b, a)) == pytest.approx(0.04 / 12)
    assert psnr(pair) == pytest.approx(10 * math.log10(12 / 0.04))
    assert psnr(Pair(a, a)) == math.inf
    white = np.full_like(a, 255)
    assert mse(Pair(a, white)) == l1(Pair(white, a)) == 1


def test_equal_magicbrush(golden, make_edit):
    arrays, description = golden("metrics_magicbrush")
    from PIL import Image

    found = []
    for case in ("same", "resize"):
        target = arrays[f"{case}.gt"]
        # An evaluation resizes edits to the size of the source
        edited = np.asarray(Image.fromarray(arrays[f"{case}.gen"]).resize(target.shape[1::-1]))
        edit = make_edit(np.zeros_like(target), edited, target)
        found.append([SCORES[name].compute([edit], None)[0] for name in ("l1", "l2")])
        expected = [description["cases"][case][name] for name in ("l1", "l2")]
        # releases of Pillow round the resized pixels differently
        np.testing.assert_allclose(found[-1], expected, atol=1e-4 if case == "resize" else 1e-6)
    both = description["cases"]["both"]
    np.testing.assert_allclose(np.mean(found, 0), [both["l1"], both["l2"]], atol=1e-4)


def test_l1_of_emu_edit_compares_with_the_source(make_edit):
    black, grey, white = (np.full((4, 4, 3), level, np.uint8) for level in (0, 51, 255))
    edit = make_edit(black, grey, white)
    assert SCORES["l1_source"].compute([edit], None) == pytest.approx([0.2])
    assert SCORES["l1"].compute([edit], None) == pytest.approx([0.8])


def test_a_part_is_compared_in_all_of_the_picture(make_edit):
    """Pixels outside a part count as equal, in the mean too."""
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    edit = make_edit(black, grey, mask=mask)
    assert SCORES["mse_edited"].compute([edit], None) == pytest.approx([0.04 / 4])
    assert SCORES["mse_background"].compute([edit], None) == pytest.approx([0.04 * 3 / 4])
