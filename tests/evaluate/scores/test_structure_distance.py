import math

import numpy as np
import pytest

from jaxedit.config import PretrainedConfig, ViTConfig
from jaxedit.convert.keymaps import keymap_vit
from jaxedit.convert.keymaps.keymap import from_torch
from jaxedit.evaluate.networks import DINONetwork
from jaxedit.evaluate.scores import SCORES
from jaxedit.evaluate.scores.structure_distance import MEAN, STD, preprocess, self_similarity


@pytest.mark.parametrize(("antialias", "name"), [(True, "aa"), (False, "noaa")])
def test_preprocessing_equals_torchvision(golden, antialias, name):
    arrays, _ = golden("metrics_dino_structure")
    picture = arrays["big512.src"].repeat(4, 0).repeat(4, 1)
    found = preprocess(picture[None], antialias=antialias)[0] * STD + MEAN
    expected = arrays[f"big512.src_resized_{name}_ch0_rows0_16"]
    np.testing.assert_allclose(found[:16, :, 0], expected, atol=1e-3)  # in 0..255


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((96, 96), (224, 224)),
        ((64, 96), (224, 336)),
        ((100, 300), (160, 480)),
        ((300, 100), (480, 160)),
    ],
)
def test_sizes(shape, expected):
    assert preprocess(np.zeros((1, *shape, 3), np.uint8)).shape == (1, *expected, 3)


def test_similarity_equals_golden_keys(golden):
    arrays, _ = golden("metrics_dino_structure")
    found = self_similarity(arrays["up96.src_keys_first8"])
    np.testing.assert_allclose(found, arrays["up96.src_sim_8x8"], rtol=1e-4)


@pytest.fixture(scope="module")
def dino(golden):
    """The golden vision transformer."""
    arrays, description = golden("metrics_dino_structure")
    c = description["config"]
    vit = ViTConfig(
        layers=c["depth"],
        width=c["embed_dim"],
        heads=c["num_heads"],
        mlp_hidden=c["embed_dim"] * c["mlp_ratio"],
        patch=c["patch_size"],
        grid=28,
        layer_scale=False,
        position_offset=0.1,
    )
    names = ("blocks", "norm", "patch_embed", "pos_embed", "cls_token")
    state = {k: v.astype(np.float32) for k, v in arrays.items() if k.startswith(names)}
    config = PretrainedConfig(model_type="vit", vit=vit)
    return DINONetwork(config, from_torch(keymap_vit.KEYMAP, state))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["up96", "wide_up", "big512", "identical"])
def test_equals_pnp_inversion(golden, dino, make_edit, case):
    arrays, description = golden("metrics_dino_structure")
    expected = description["cases"][case]
    times = expected["repeat"]
    source, edited = (
        arrays[f"{case}.{name}"].repeat(times, 0).repeat(times, 1) for name in ("src", "tgt")
    )
    top, bottom, left, right = expected["mask_box_yyxx"]
    mask = np.ones(source.shape[:2], bool)  # the frame is part of the mask
    mask[1:-1, 1:-1] = False
    mask[top:bottom, left:right] = True
    edit = make_edit(source, edited, mask=mask)
    pairs = {
        "structure_distance": "struct_dist_aa",
        "structure_distance_no_antialias": "struct_dist_noaa",
        "structure_distance_background": "struct_dist_unedit_part_aa",
    }
    for ours, theirs in pairs.items():
        [found] = SCORES[ours].compute([edit], dino)
        assert found == pytest.approx(expected[theirs], rel=1e-4), ours


class Two:
    """In the place of DINO: keys of two tokens, parallel only for black pictures."""

    def keys(self, pixels):
        is_black = np.isclose(pixels[:, 0, 0, 0], -MEAN[0] / STD[0])
        return np.stack([[[1, 0], [2, 0] if black else [0, 3]] for black in is_black]).astype(
            np.float32
        )


def test_by_hand(make_edit):
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    edits = [make_edit(black, white), make_edit(black, black)]
    # Of four cosines, two change from 1 to 0
    assert SCORES["structure_distance"].compute(edits, Two()) == [0.5, 0]
    assert SCORES["structure_distance_no_antialias"].compute(edits, Two()) == [0.5, 0]
    all_edited = make_edit(black, white, mask=np.ones((8, 8)))
    assert math.isnan(SCORES["structure_distance_background"].compute([all_edited], Two())[0])
    assert SCORES["structure_distance_edited"].compute([all_edited], Two()) == [0.5]
