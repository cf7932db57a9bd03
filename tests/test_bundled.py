"""The bundled models are small, say how they were trained, and edit."""

import json

import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image

from jaxedit import Editor, assets
from jaxedit.config import DataConfig
from jaxedit.data import toybox
from jaxedit.data.loader import held_out_pairs

# (model, method): least share of edits that succeed, least PSNR outside the true mask
FLOORS = {
    ("toy-varedit", "varedit"): (0.75, 28.0),
    ("toy-editar", "editar"): (0.4, 25.0),
    ("toy-editar", "editar+erec"): (0.4, 30.0),
}


@pytest.fixture(scope="module")
def editors():
    return {name: Editor.from_pretrained(name) for name, _ in FLOORS}


@pytest.fixture(scope="module")
def checks(editors):
    """(model, method) -> the checker's verdicts on the same 20 held-out edits."""
    pairs = held_out_pairs(DataConfig(seed=2), 20)

    def judge(model, method):
        sources, words = [p.source for p in pairs], [p.instruction for p in pairs]
        edits = editors[model].edit_batch(sources, words, method=method)
        assert not any("notice" in edit.diagnostics for edit in edits)  # these are toys
        return [toybox.check(np.asarray(e.image), p) for e, p in zip(edits, pairs, strict=True)]

    return {key: judge(*key) for key in FLOORS}


@pytest.mark.parametrize("model", ["toy-varedit", "toy-editar"])
def test_it_is_small_and_says_how_it_was_trained(model):
    directory = assets.ROOT / model
    assert sum(path.stat().st_size for path in directory.iterdir()) <= 12e6
    record = json.loads((directory / "training.json").read_text())
    assert record["transformer_and_text_encoder"]["command"].startswith("python -m jaxedit.train")


@pytest.mark.parametrize(("model", "method"), FLOORS)
def test_held_out_edits_succeed(checks, model, method):
    success, _ = FLOORS[model, method]
    assert np.mean([check.success for check in checks[model, method]]) >= success


@pytest.mark.parametrize(("model", "method"), FLOORS)
def test_what_is_outside_the_mask_stays(checks, model, method):
    _, psnr = FLOORS[model, method]
    assert background(checks[model, method]) > psnr


def test_erec_keeps_more_of_the_background(checks):
    with_erec = background(checks["toy-editar", "editar+erec"])
    assert with_erec > background(checks["toy-editar", "editar"]) + 2


@pytest.mark.parametrize("model", ["toy-varedit", "toy-editar"])
def test_a_photograph_is_noticed_and_edited(editors, model):
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as photograph:
        image = Image.open(photograph)
        result = editors[model].edit(image, "make the ball blue")
    assert f"{model} knows drawn toys only" in result.diagnostics["notice"]
    assert result.image.size in (image.size, (64, 64))


def background(checks):
    """Mean PSNR outside the mask, of the edits that have one."""
    return np.mean([check.psnr_outside for check in checks if check.psnr_outside is not None])
