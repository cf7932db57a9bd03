"""The check whether a bundled model is given words that it does not know."""

from jaxedit import warn_once
from jaxedit.data.toybox.language import RECON_PROMPT
from jaxedit.editor.word_check import unknown_words, words_notice


def test_unknown_words_by_hand():
    assert unknown_words("Make it SNOW, or rain; it rains.") == ["it", "or", "rain", "rains"]
    assert unknown_words("Remove the  ball!") == unknown_words(RECON_PROMPT) == []
    assert unknown_words("雪を make") == ["雪を"]


def test_a_notice_is_logged_once_for_an_instruction(caplog):
    warn_once.forget()
    notices = [words_notice("toy-varedit", "make it rain") for _ in range(2)]
    assert caplog.messages == notices[:1] and notices[0] == notices[1]
    assert notices[0].endswith("not 'it', 'rain'")
    assert words_notice("toy-varedit", "b c d e f g").endswith("'b', 'c', 'd', 'e', 'f', ...")


def test_other_models_and_known_words_have_no_notice(caplog):
    assert words_notice("varedit-2b-512", "make it rain") == ""
    assert words_notice("toy-editar", "make the ball blue") == caplog.text == ""
