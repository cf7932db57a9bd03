"""What the server's process sets up around the application."""

import logging

import pytest

from jaxedit import warn_once
from jaxedit.editor.word_check import words_notice
from jaxedit.serve.server import configure_log


@pytest.fixture
def levels():
    """The loggers' levels, restored at the end."""
    loggers = [logging.getLogger(n) for n in ("jaxedit", "uvicorn", "jaxedit.editor.word_check")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize("has_prompts", [False, True])
def test_words_of_a_prompt_are_logged_only_if_asked_for(levels, caplog, has_prompts):
    configure_log(has_prompts=has_prompts)
    warn_once.forget()
    assert "'zebra'" in words_notice("toy-varedit", "add a zebra")  # the client is told
    assert ("zebra" in caplog.text) == has_prompts
    assert logging.getLogger("jaxedit.serve").isEnabledFor(logging.INFO)
