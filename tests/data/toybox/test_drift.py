"""Imperfect pairs, and the textures that they change."""

import numpy as np
import pytest

from jaxedit.data import toybox
from jaxedit.data.toybox import drift
from jaxedit.data.toybox.backgrounds import textured_backdrop
from jaxedit.data.toybox.render import LUMA
from jaxedit.data.toybox.scene import Dice
from jaxedit.data.toybox.textures import MAX_OFFSET, TEXTURES, window


def changes(change):
    """Return how a drift changes an empty room, i[64,64,3]."""
    return textured_backdrop("room", 64, 5, drift=change).astype(int) - textured_backdrop(
        "room", 64, 5
    )


@pytest.fixture(scope="module")
def pairs():
    return [toybox.make(3, i, 3) for i in range(200)]


def test_imperfect_pairs_differ_in_the_background_alone(pairs):
    for i, pair in enumerate(pairs[:40]):
        perfect = toybox.make(3, i, 3, is_perfect=True)
        for name in ("instruction", "edit_type", "scene", "target_scene"):
            assert getattr(pair, name) == getattr(perfect, name)
        np.testing.assert_array_equal(pair.source, perfect.source)
        np.testing.assert_array_equal(pair.mask, perfect.mask)
        assert (pair.target != perfect.target).any() <= (pair.drift is not None)
        assert toybox.check(pair.target, pair).success


def test_shares_of_imperfect_pairs(pairs):
    keeps = [
        p.scene.style == p.target_scene.style and p.scene.background == p.target_scene.background
        for p in pairs
    ]
    assert all(p.drift is None or keep for p, keep in zip(pairs, keeps, strict=True))
    drifts = [p.drift for p, keep in zip(pairs, keeps, strict=True) if keep]
    redrawn = [d for d in drifts if d and d.texture_seed is not None]
    shifted = [d for d in drifts if d and d.shift != (0, 0)]
    for found, share in ((redrawn, drift.REDRAWN), (shifted, drift.SHIFTED)):
        assert len(found) / len(drifts) == pytest.approx(share, abs=0.1)
    assert drifts.count(None) / len(drifts) == pytest.approx(0.3, abs=0.1)
    assert 0 < sum(d.disc is None for d in redrawn) < len(redrawn) / 2


@pytest.mark.parametrize("kwargs", [{"split": "test"}, {"task": "recon"}, {"is_perfect": True}])
def test_other_pairs_are_perfect(kwargs):
    assert all(toybox.make(3, i, 3, **kwargs).drift is None for i in range(20))


def test_draws_stay_what_they_are():
    drifts = [drift.draw_drift(Dice((1, 2), (i, 3))) for i in (0, 1, 5, 7)]
    assert drifts[0].texture_seed == 3038709783
    assert drifts[1:] == [drift.Drift(colour=(-9, 4, 5)), None, drift.Drift(shift=(1, -1))]


def test_what_each_change_does():
    assert not changes(drift.Drift()).any()
    recoloured = changes(drift.Drift(colour=(0, 3, -2)))
    np.testing.assert_array_equal(np.unique(recoloured[..., 1]), [0, 3])  # 0: the window
    np.testing.assert_array_equal(np.unique(recoloured[..., 2]), [-2, 0])
    redrawn = changes(drift.Drift(texture_seed=9, disc=(0.5, 0.25, 0.2))).any(-1)
    assert redrawn.any() and not redrawn[:, 32:].any() and not redrawn[:18].any()
    moved = textured_backdrop("room", 64, 5, drift=drift.Drift(shift=(1, 0)))
    picture = textured_backdrop("room", 64, 5)
    np.testing.assert_array_equal(moved[20:39, :25], picture[21:40, :25])  # wall


def test_textures_are_visible_and_leave_the_mean():
    for name in TEXTURES:
        offsets = np.stack(
            [
                window(name, seed, top=0, left=0, height=64, width=64)
                for seed in range(0, 2**18, 999)
            ]
        )
        assert np.abs(offsets).max() <= MAX_OFFSET
        assert 6 < (offsets @ LUMA).std() < 12
        np.testing.assert_allclose(offsets.mean((0, 1, 2)), 0, atol=2)


def test_windows_of_a_seed_are_parts_of_one_picture():
    large = window("wood", 2**31 + 77, top=-3, left=-5, height=70, width=80)
    small = window("wood", 2**31 + 77, top=0, left=2, height=64, width=64)
    np.testing.assert_array_equal(large[3:67, 7:71], small)
