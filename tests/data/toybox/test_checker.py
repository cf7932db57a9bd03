import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageFilter

from jaxedit.data import toybox
from jaxedit.data.toybox.recognise import all_toys, recognise
from jaxedit.data.toybox.render import render

LEVELS = range(len(toybox.LEVELS))


@pytest.fixture(scope="module", params=LEVELS)
def pairs(request):
    return [toybox.make(7, i, request.param, split="test", edit_type=i % 10) for i in range(100)]


def rate(pairs, damage):
    return np.mean([toybox.check(damage(p.target), p).success for p in pairs])


def test_targets_succeed_and_sources_fail(pairs):
    for pair in pairs:
        right = toybox.check(pair.target, pair)
        assert right.success and right.is_edited and right.is_kept and right.errors == ()
        assert right.psnr_outside in (100, None)
        assert right.ssim_outside is None or right.ssim_outside == pytest.approx(1)
        wrong = toybox.check(pair.source, pair)
        assert not wrong.success and not wrong.is_edited and wrong.is_kept


def test_other_pictures_fail(pairs):
    assert not any(
        toybox.check(a.target, b).success for a, b in zip(pairs, pairs[1:], strict=False)
    )


def test_noise_does_not_matter(pairs):
    rng = np.random.default_rng(0)

    def noisy(image):
        return np.clip(image + rng.normal(0, 20, image.shape), 0, 255).astype(np.uint8)

    assert rate(pairs, noisy) >= 0.99


def test_mild_blur_does_not_matter(pairs):
    def blurred(image):
        return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.6)))

    assert rate(pairs, blurred) >= 0.97


def test_recon_and_translation_rows():
    for task in ("recon", "depth"):
        pair = toybox.make(0, 3, 1, task=task)
        assert toybox.check(pair.target, pair).success
    assert not toybox.check(pair.source, pair).success


def test_an_edit_that_also_damages_the_rest():
    pair = toybox.make(0, 2, 0, edit_type=6)  # make the ball blue; a plain heart is at the top left
    other = pair.target_scene.put(0, pair.scene.toys[0]._replace(texture="striped"))
    result = toybox.check(render(other), pair)
    assert result.is_edited and not result.is_kept and not result.success
    assert result.errors == ("top left texture: striped instead of plain",)


def test_a_removal_that_is_ignored():
    pair = toybox.make(0, 0, 0, edit_type=3)
    result = toybox.check(pair.source, pair)
    assert any("kind: " in e and "instead of nothing" in e for e in result.errors)


def test_grey_picture_with_a_coloured_toy_fails():
    for index in range(20):
        pair = toybox.make(0, index, 0, edit_type=9)
        if pair.target_scene.style == "black and white" and "red" in str(pair.scene):
            break
    slot = next(s for s, t in pair.scene.filled if t.colour == "red")
    y, x = 32 * (slot // 2), 32 * (slot % 2)
    image = pair.target.copy()
    image[y : y + 32, x : x + 32] = pair.source[y : y + 32, x : x + 32]
    assert "unknown" in " ".join(toybox.check(image, pair).errors)


def test_psnr_outside_by_hand():
    pair = toybox.make(0, 0, 0, edit_type=6)
    image = pair.target ^ 4  # every value differs by 4
    image[pair.mask] = 0  # what the edit may change does not count
    expected = 20 * np.log10(255 / 4)
    assert toybox.check(image, pair).psnr_outside == pytest.approx(expected, abs=1e-3)


def test_all_toys_of_a_level():
    # ball and star have one pose, heart and house two; 4 colours, 2 textures, 2 faces
    assert len(all_toys(0)) == (1 + 1 + 2 + 2) * 4 * 2 * 2
    # three kinds have one pose and five three; 8 colours, 4 textures; small: 1 face, large: 3
    assert len(all_toys(1)) == (3 + 5 * 3) * 8 * 4 * (1 + 3)
    assert len(all_toys(1, is_sketch=True)) == 18 * 4 * 4


def test_recognise_reads_scenes_exactly():
    for index in range(50):
        scene = toybox.make(2, index, 2).scene
        assert recognise(render(scene), 2) == scene


@pytest.mark.parametrize("image", [np.zeros((32, 32, 3), np.uint8), np.zeros((64, 64, 3))])
def test_wrong_picture(image):
    with pytest.raises(ValueError, match=r"expected uint8\[64, 64, 3\]"):
        toybox.check(image, toybox.make(0, 0, 0))


def test_result_is_frozen():
    pair = toybox.make(0, 0, 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        toybox.check(pair.target, pair).success = False
