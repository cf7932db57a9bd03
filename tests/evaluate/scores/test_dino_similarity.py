import numpy as np
import pytest

from jaxedit.evaluate.scores import SCORES
from jaxedit.evaluate.scores.dino_similarity import preprocess
from jaxedit.evaluate.scores.structure_distance import MEAN, STD


def test_preprocessing_takes_the_middle():
    picture = np.zeros((256, 400, 3), np.uint8)
    picture[:, 88:312] = 255  # the columns of the crop; the short side stays 256 pixels
    assert (preprocess([picture]) == (1 - MEAN) / STD).all()
    assert preprocess([picture[:, :100]] * 2).shape == (2, 224, 224, 3)


class Corner:
    """In the place of DINO: the first pixel, in 0..1, without green."""

    def class_feature(self, pixels):
        assert pixels.shape[1:] == (224, 224, 3)
        return (pixels[:, 0, 0] * STD + MEAN).astype(np.float32) * np.float32([1, 0, 1])


def test_by_hand(make_edit):
    red, blue, both = (
        np.full((256, 256, 3), value, np.uint8)
        for value in ((255, 0, 0), (0, 0, 255), (255, 0, 255))
    )
    edits = [make_edit(red, both, target=blue), make_edit(both, blue, target=blue)]
    half = 0.5**0.5
    assert SCORES["dino"].compute(edits, Corner()) == pytest.approx([half, 1], abs=1e-6)
    assert SCORES["dino_source"].compute(edits, Corner()) == pytest.approx([half, half], abs=1e-6)
