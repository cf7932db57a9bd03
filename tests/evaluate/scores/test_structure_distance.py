import math

import numpy as np
import pytest

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
