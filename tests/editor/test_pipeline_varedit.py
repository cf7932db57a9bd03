"""VAREdit with ERec through the whole editor."""

import logging

import jax
import numpy as np
import pytest

from jaxedit import Editor
from jaxedit.config import ConfigError
from jaxedit.editor import pipeline
from jaxedit.erec.panel import panel_of

WORDS = "make the ball blue"
ALL = {"method": "varedit+erec", "tau_js": 0.0, "tau_low": 0.0, "tau_high": float("inf")}
NOTHING = {"method": "varedit+erec", "tau_js": 2.0}


@pytest.fixture(scope="module")
def editor(tiny_model):
    return Editor.from_pretrained(tiny_model, rows_per_device=2)


def picture(seed=0, side=32):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def same(a, b):
    tokens = all(np.array_equal(x, y) for x, y in zip(a.tokens, b.tokens, strict=True))
    return tokens and a.image.tobytes() == b.image.tobytes()


@pytest.mark.parametrize("passes", ["one", "two"])
def test_masks_of_everything_and_of_nothing(editor, passes, caplog):
    plain = editor.edit(picture(), WORDS)
    with caplog.at_level(logging.WARNING):
        edit = editor.edit(picture(), WORDS, passes=passes, **ALL)
    assert edit.mask.all()
    for one, other in zip(edit.tokens, plain.tokens, strict=True):
        np.testing.assert_array_equal(one, other)
    assert {"js", "nll_rec", "nll_edit"} <= edit.diagnostics.keys()
    assert edit.settings["passes"] == passes and edit.settings["method"] == "varedit+erec"
    kept = editor.edit(picture(), WORDS, passes=passes, hard_paste=True, **NOTHING)
    assert not kept.mask.any() and kept.image.tobytes() == picture().tobytes()
    if passes == "two":
        raw = edit.diagnostics["raw_edit"]
        assert raw.tobytes() == plain.image.tobytes()
        panel_of(plain.image, edit)
    else:
        with pytest.raises(ValueError, match="with passes='two'"):
            panel_of(plain.image, edit)


def test_each_row_is_what_it_is_alone(editor):
    images, words = [picture(i) for i in range(3)], [WORDS, "remove the star", "add a tent"]
    options = ALL | {"tau_js": 0.3, "passes": "one"}
    batch = editor.edit_batch(images, words, seed=5, **options)
    for i, row in enumerate(batch):
        assert same(row, editor.edit(images[i], words[i], seed=5 + i, **options))


def test_small_masks_change_nothing_for_other_rows(editor):
    """They run fewer tokens, by another program."""
    small = np.zeros((32, 32), bool)
    small[8:16, 8:16] = True  # four tokens of sixteen
    images, masks = [picture(i) for i in range(8)], [None, small] * 4
    batch = editor.edit_batch(images, [WORDS] * 8, masks=masks, temperature=2.0)
    for i, row in enumerate(batch):
        alone = editor.edit(images[i], WORDS, seed=i, mask=masks[i], temperature=2.0)
        assert same(row, alone), i


def test_weak_reconstructions_are_told_once(tiny_model, caplog):
    editor = Editor.from_pretrained(tiny_model)
    with caplog.at_level(logging.WARNING):
        first = editor.edit(picture(), WORDS, passes="one", **ALL)
        second = editor.edit(picture(), WORDS, passes="one", **ALL)
    assert first.diagnostics["reconstruction_psnr"] < 25
    assert "reconstruction_psnr" not in second.diagnostics
    warned = [r.message for r in caplog.records if "reconstructed by" in r.message]
    assert len(warned) == 1 and "expected at least 25" in warned[0]


def test_settings_without_end_do_not_fill_the_memory(editor, monkeypatch):
    cleared, programs = [], editor.pipeline
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(True))
    monkeypatch.setattr(type(programs), "_compile", lambda self, settings: None)
    monkeypatch.setattr(programs, "_executables", {"a program": None})
    monkeypatch.setattr(programs, "_ready", set())
    ends = np.linspace(0.3, 0.9, pipeline.KEPT + 1)
    for end in [*ends[:-1], ends[0]]:
        editor.compile("varedit+erec", mask_until=float(end))
    assert programs._executables and not cleared
    editor.compile("varedit+erec", mask_until=float(ends[-1]))
    assert not programs._executables and cleared == [True]
    assert programs.is_ready(editor.settings("varedit+erec", mask_until=float(ends[-1])))


def test_settings(editor):
    with pytest.raises(ConfigError, match="passes='three': expected one or two"):
        editor.edit(picture(), WORDS, method="varedit+erec", passes="three")
    with pytest.raises(ConfigError, match=r"passes='one': an option of method varedit\+erec"):
        editor.edit(picture(), WORDS, passes="one")
    with pytest.raises(ConfigError, match="growth=2: expected an odd number"):
        editor.edit(picture(), WORDS, method="varedit+erec", growth=2)
