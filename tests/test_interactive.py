import logging
import sys

import pytest

from jaxedit import interactive

log = logging.getLogger("jaxedit.test")


@pytest.fixture
def said(monkeypatch, capsys, caplog):
    """(root's level, the package's level, is at a prompt) -> (printed, logged)."""

    def say(root, package, is_prompt):
        caplog.clear()
        if is_prompt:
            monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
        with caplog.at_level(root), caplog.at_level(package, "jaxedit"):
            interactive.inform(log, "%d s", 3)
        return capsys.readouterr().out, caplog.messages

    return say


@pytest.mark.parametrize("is_prompt", [False, True])
def test_a_log_that_is_set_up_has_the_message(said, is_prompt):
    assert said("INFO", "NOTSET", is_prompt) == ("", ["3 s"])
    assert said("WARNING", "INFO", is_prompt) == ("", ["3 s"])
    assert said("WARNING", "WARNING", is_prompt) == said("ERROR", "NOTSET", is_prompt) == ("", [])


def test_only_a_prompt_prints_where_logging_is_not_set_up(said):
    assert said("WARNING", "NOTSET", False) == ("", [])
    assert said("WARNING", "NOTSET", True) == ("3 s\n", [])
