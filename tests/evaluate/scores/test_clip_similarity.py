import math

import numpy as np
import pytest

from jaxedit.evaluate.scores import SCORES
from jaxedit.evaluate.scores.clip_similarity import cosine

CASES = ("sq320", "wide240x300", "small160x128")


class Stored:
    """In the place of CLIP: features by the pictures' bytes, and by the texts."""

    def __init__(self, pictures, texts):
        self.by_picture = {picture.tobytes(): feature for picture, feature in pictures}
        self.by_text = texts

    def image_features(self, pictures):
        return np.stack([self.by_picture[picture.tobytes()] for picture in pictures])

    def text_features(self, texts):
        return np.stack([self.by_text[text] for text in texts])


@pytest.fixture
def case(golden, make_edit, noise):
    """`case(name)` -> an edit, CLIP's features of it, and the expected scores."""

    def load(name):
        arrays, description = golden("metrics_clip")
        source, edited = noise(8, 8), noise(8, 8)
        mask = np.zeros((8, 8), bool)
        mask[2:5] = True
        pictures = [
            (source, arrays[f"{name}.img_feat_src"]),
            (edited, arrays[f"{name}.img_feat_tgt"]),
            (edited * mask[..., None], arrays[f"{name}.img_feat_tgt_masked"]),
        ]
        texts = {"before": arrays["text_feat_src"], "after": arrays["text_feat_tgt"]}
        prompts = {"source_prompt": "before", "target_prompt": "after"}
        edit = make_edit(source, edited, source, mask, **prompts)
        return edit, Stored(pictures, texts), description["cases"][name]

    return load


@pytest.mark.parametrize("name", CASES)
def test_equals_clip_score(case, name):
    edit, network, expected = case(name)
    pairs = {
        "clip_source": "clip_source_pil",
        "clip_whole": "clip_whole_pil",
        "clip_score": "clip_whole_pil",
        "clip_edited": "clip_edit_pil",
    }
    for ours, theirs in pairs.items():
        found = SCORES[ours].compute([edit, edit], network)
        assert found == pytest.approx([expected[theirs]] * 2, abs=0.01)


@pytest.mark.parametrize("name", CASES)
def test_equals_emu_edit(case, name, make_edit):
    edit, network, expected = case(name)
    expected = expected["emu"]
    pairs = {
        "clip_out": "clip_out",
        "clip_im": "clip_im",
        "clip_dir": "clip_dir_normalized_first (reference, InstructPix2Pix/UltraEdit)",
        "clip_dir_unnormalized": "clip_dir_unnormalized (variant found in the wild)",
        "clip_t": "clip_out",
        "clip_i": "clip_im",  # the target is the source here
    }
    for ours, theirs in pairs.items():
        assert SCORES[ours].compute([edit], network) == pytest.approx([expected[theirs]], abs=1e-5)
    prompts = {"source_prompt": "before", "target_prompt": "before"}
    same_caption = make_edit(edit.source, edit.edited, **prompts)
    same_picture = make_edit(edit.source, edit.source, **(prompts | {"target_prompt": "after"}))
    for name in ("clip_dir", "clip_dir_unnormalized"):
        assert SCORES[name].compute([same_caption, same_picture], network) == [0, 0]


class Rounding:
    """A network whose features of equal inputs differ by rounding."""

    def image_features(self, pictures):
        return np.random.default_rng(0).normal(1, 1e-7, (len(pictures), 4)).astype(np.float32)

    text_features = image_features


def test_rounding_is_no_direction(make_edit, noise):
    same = noise(8, 8)
    edits = [make_edit(same, same.copy(), source_prompt="a", target_prompt="b")] * 3
    assert SCORES["clip_dir"].compute(edits, Rounding()) == [0, 0, 0]


def test_by_hand(make_edit, noise):
    a = np.array([[3, 4], [1, 0], [0, 0]], np.float32)
    b = np.array([[4, 3], [-2, 0], [1, 1]], np.float32)
    np.testing.assert_allclose(cosine(a, b), [0.96, -1, 0], atol=1e-6)
    source, edited = noise(8, 8), noise(8, 8)
    network = Stored([(source, a[0]), (edited, -a[0])], {"x": b[0]})
    edit = make_edit(source, edited, source_prompt="x", target_prompt="x")
    assert SCORES["clip_source"].compute([edit], network) == pytest.approx([96])
    assert SCORES["clip_whole"].compute([edit], network) == [0]  # -96, which is below 0
    assert SCORES["clip_out"].compute([edit], network) == pytest.approx([-0.96])


def test_an_empty_part_has_no_score(make_edit, noise):
    source, black = noise(8, 8), np.zeros((8, 8, 3), np.uint8)
    network = Stored([(black, np.ones(2, np.float32))], {"x": np.ones(2, np.float32)})
    edit = make_edit(source, source, mask=np.zeros((8, 8)), target_prompt="x")
    assert math.isnan(SCORES["clip_edited"].compute([edit], network)[0])
