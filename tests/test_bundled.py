"""The bundled model is small, says how it was trained, and edits."""

import json

import numpy as np
import pytest

from jaxedit import assets
from jaxedit.config import DataConfig
from jaxedit.data import toy
from jaxedit.data.loader import held_out_pairs
from jaxedit.editor import Editor

DIRECTORY = assets.ROOT / "toy-varedit"


@pytest.fixture(scope="module")
def results():
    pairs = held_out_pairs(DataConfig(seed=2), 40)
    editor = Editor.from_pretrained("toy-varedit")
    edits = editor.edit_batch([p.source for p in pairs], [p.instruction for p in pairs])
    return [toy.check(np.asarray(e.image), p) for e, p in zip(edits, pairs, strict=True)]


def test_it_is_small_and_says_how_it_was_trained():
    assert sum(path.stat().st_size for path in DIRECTORY.iterdir()) <= 12e6
    record = json.loads((DIRECTORY / "training.json").read_text())
    assert record["transformer_and_text_encoder"]["command"].startswith("python -m jaxedit.train")


def test_most_held_out_edits_succeed(results):
    assert np.mean([result.success for result in results]) >= 0.75


def test_what_is_outside_the_mask_stays(results):
    psnr = [result.psnr_outside for result in results if result.psnr_outside is not None]
    assert np.mean(psnr) > 28
