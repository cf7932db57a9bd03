import logging
import sys
import types

import pytest

from jaxedit.data import caption_cleaning
from jaxedit.data.caption_cleaning import clean_caption


@pytest.fixture(autouse=True)
def forget_repair():
    """Let each test look for ftfy again."""
    caption_cleaning._repair.cache_clear()
    yield
    caption_cleaning._repair.cache_clear()


@pytest.fixture(params=["as installed", "without ftfy"])
def either_repair(request, monkeypatch):
    """Run a test with ftfy, if it is installed, and without it."""
    if request.param == "without ftfy":
        monkeypatch.setitem(sys.modules, "ftfy", None)


def test_captions_match_release(golden, either_repair):
    _, description = golden("llamagen_text_cleaning")
    assert len(description["pairs"]) == 30
    for caption, expected in description["pairs"]:
        assert clean_caption(caption) == expected, caption


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("a <b>red<br>bus</b> &lt;3", "a redbus <3"),
        ("<style>p {}</style>a<!-- no --> bus", "a bus"),
        ("a%20bus", "a bus"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_markup_is_read_and_accents_composed(caption, expected, either_repair):
    assert clean_caption(caption) == expected


def test_a_clean_caption_stays(either_repair):
    caption = "a small dog, two cats and 3 birds on a red bus"
    assert clean_caption(caption) == caption


def test_without_ftfy_wrong_encodings_stay(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    caplog.set_level(logging.INFO, "jaxedit")
    assert [clean_caption("\ufb01ne art") for _ in range(2)] == ["\ufb01ne art"] * 2
    (said,) = caplog.messages
    assert "ftfy is not installed" in said


def test_ftfy_repairs_before_escapes_are_read(monkeypatch, caplog):
    fake = types.ModuleType("ftfy")
    fake.__version__, fake.fix_text = "6.0", lambda text: text.replace("\ufb01", "fi&lt;")
    monkeypatch.setitem(sys.modules, "ftfy", fake)
    caplog.set_level(logging.INFO, "jaxedit")
    assert clean_caption("\ufb01ne art") == "fi<ne art"
    assert caplog.messages == ["captions: wrong encodings are repaired by ftfy 6.0"]


def test_the_real_ftfy_repairs():
    pytest.importorskip("ftfy")
    assert clean_caption("\ufb01ne art") == "fine art"
