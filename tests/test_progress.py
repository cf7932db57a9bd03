import io
import sys

import pytest

from jaxedit import progress
from jaxedit.progress import follow, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal_is_removed(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar("store", 1000, unit="B") as bar:
        bar.update(1000)
        bar.refresh()
    assert "store: 100%" in sys.stderr.getvalue() and "1.00k/1.00k" in sys.stderr.getvalue()
    assert sys.stderr.getvalue().split("\r")[-2].strip() == "" and "\n" not in sys.stderr.getvalue()


def test_short_work_says_nothing_elsewhere(capsys):
    with progress_bar("store", 10) as bar:
        bar.update(10)
    assert capsys.readouterr() == ("", "")


def test_a_line_at_a_time_elsewhere(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS", 0)
    with progress_bar("store", 10) as bar:
        bar.update(5)
    lines = [line.strip() for line in capsys.readouterr().err.split("\n")]
    assert lines[1].startswith("store: 5 of 10 after 00:00")


def test_the_bar_goes_after_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ZeroDivisionError), progress_bar("store", 10):
        raise ZeroDivisionError
    assert sys.stderr.getvalue().split("\r")[-2].strip() == ""


def test_a_report_of_what_is_done_moves_the_bar():
    with progress_bar("steps") as bar:
        report = follow(bar)
        report(3, 8)
        report(5, 8)
        assert (bar.n, bar.total) == (5, 8)
