import math

import numpy as np
import pytest

from jaxedit.data.pictures.canny import canny
from jaxedit.evaluate.scores import SCORES
from jaxedit.evaluate.scores.edges import f1, finite_psnr
from jaxedit.evaluate.scores.pair import Pair
from jaxedit.evaluate.scores.pixel_error import psnr


@pytest.mark.parametrize("case", ["c64", "c48x72"])
def test_edges_equal_kornia(golden, make_edit, case):
    arrays, _ = golden("metrics_translation")
    picture = arrays[f"canny.{case}.image"]
    expected = arrays[f"canny.{case}.edges_u8"]
    np.testing.assert_array_equal(canny(picture / np.float32(255)) * np.uint8(255), expected)
    pair = make_edit(picture, picture, target=np.zeros_like(picture)).edges
    np.testing.assert_array_equal(pair.b[..., 0], expected)
    assert not pair.a.any()


def test_scores_of_golden_edges(golden):
    arrays, description = golden("metrics_pixel")
    pair = Pair(
        *(
            np.where(arrays[f"edges.{name}"] > 0, np.uint8(255), np.uint8(0))[..., None]
            for name in ("gt", "pred")
        )
    )
    assert f1(pair) == pytest.approx(description["edges"]["f1"], abs=1e-6)
    assert psnr(pair) == pytest.approx(description["edges"]["psnr"], abs=1e-4)


def test_by_hand():
    a, b = np.zeros((2, 4, 1), np.uint8), np.zeros((2, 4, 1), np.uint8)
    assert math.isnan(f1(Pair(a, b)))
    a[0], b[:, :2] = 255, 255
    assert f1(Pair(a, b)) == 0.5  # 2 of 4 are found, 2 of 4 are right
    assert f1(Pair(a, 255 - a)) == 0
    assert finite_psnr(Pair(a, b)) == pytest.approx(10 * math.log10(2))
    assert finite_psnr(Pair(a, a)) == 100


def test_edges_are_computed_from_target_and_edit(make_edit, noise):
    source, edited, target = (noise(180, 190) for _ in range(3))
    edits = [make_edit(source, edited, target), make_edit(source, target, target)]
    for name, equal in (
        ("edge_f1", 1),
        ("edge_ms_ssim", 1),
        ("edge_ms_ssim_crop", 1),
        ("edge_psnr", 100),
    ):
        other, same = SCORES[name].compute(edits, None)
        assert same == pytest.approx(equal) and other < same, name
    assert edits[0].edges is edits[0].edges
