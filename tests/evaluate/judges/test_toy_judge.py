import numpy as np
import pytest
from PIL import Image

from jaxedit.data import toybox
from jaxedit.evaluate.judges import JUDGES, judge_edits
from jaxedit.evaluate.judges.toy_judge import ToyJudge
from jaxedit.evaluate.sample import Sample
from jaxedit.evaluate.scores.score import Edit


def edit_of(pair, edited, enlarge=1):
    sample = Sample(key="k", source=b"", instruction=pair.instruction)
    pictures = (np.repeat(np.repeat(p, enlarge, 0), enlarge, 1) for p in (pair.source, pair.target))
    source, target = pictures
    return Edit(sample=sample, source=source, edited=edited, target=target, mask=None)


def judge(edits):
    return [scores for _, scores in judge_edits(JUDGES["toy"], edits, ToyJudge())]


@pytest.mark.parametrize(
    "level", [*(pytest.param(i, marks=pytest.mark.slow) for i in (0, 1, 2)), 3]
)
def test_it_says_what_the_checker_says(level):
    """Although it sees nothing but pictures; edits are other pairs' pictures, and noisy ones."""
    pairs = [toybox.make(5, i, level, split="test", edit_type=i % 10) for i in range(10)]
    rng = np.random.default_rng(0)
    for pair, other in zip(pairs, pairs[1:], strict=False):
        noise = rng.normal(0, 10, pair.target.shape)
        noisy = np.clip(pair.target + noise, 0, 255).astype(np.uint8)
        pictures = (pair.target, pair.source, noisy, other.target)
        found = judge([edit_of(pair, picture) for picture in pictures])
        for picture, scores in zip(pictures, found, strict=True):
            right = toybox.check(picture, pair)
            assert scores == {
                "toy_suc": 10 * right.is_edited,
                "toy_over": 10 * right.is_kept,
                "toy_bal": 10 * right.success,
            }


def test_enlarged_pictures():
    pair = toybox.make(0, 2, 0, edit_type=6)
    large = np.asarray(Image.fromarray(pair.target).resize((512, 512), Image.Resampling.BICUBIC))
    assert judge([edit_of(pair, large, 8)])[0]["toy_bal"] == 10


def test_other_pictures():
    pair = toybox.make(0, 2, 0, edit_type=6)
    photo = np.full_like(pair.source, 9)
    edit = Edit(
        sample=Sample(key="k", source=b"", instruction=""),
        source=photo,
        edited=photo,
        target=photo,
        mask=None,
    )
    with pytest.raises(ValueError, match="expected a source and a target of the toybox"):
        judge([edit])
