"""The check whether a bundled model is given a photograph."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxedit import warn_once
from jaxedit.config import PretrainedConfig
from jaxedit.editor import photo_check
from jaxedit.editor.photo_check import PhotoCheck, psnr_of

SQUARE = np.full((8, 8, 3), 100, np.uint8)


@pytest.fixture
def pipeline(monkeypatch):
    """A pipeline whose tokenizer adds `tokenizer` to every pixel."""
    monkeypatch.setattr(
        photo_check, "reconstruct", lambda error, pixels, **options: pixels + np.uint8(error)
    )
    warn_once.forget()
    return SimpleNamespace(config=PretrainedConfig(), size=8, tokenizer=1)


def test_psnr_by_hand(pipeline):
    assert psnr_of(pipeline, SQUARE) == pytest.approx(20 * np.log10(255))
    pipeline.tokenizer = 10
    assert psnr_of(pipeline, SQUARE) == pytest.approx(20 * np.log10(25.5))


def test_photographs_are_noticed_and_the_log_says_so_once(pipeline, caplog):
    toys, photographs = PhotoCheck("toy-varedit", pipeline), PhotoCheck("toy-varedit", pipeline)
    assert toys.notice(SQUARE) == ""
    pipeline.tokenizer = 100
    notices = {photographs.notice(SQUARE), photographs.notice(SQUARE + np.uint8(1))}
    assert [record.message for record in caplog.records] == list(notices)
    assert "toy-varedit knows drawn toys only" in caplog.text and "varedit-2b-512" in caplog.text


def test_other_models_are_not_checked(pipeline):
    pipeline.tokenizer = 100
    assert PhotoCheck("models/2b", pipeline).notice(SQUARE) == ""
