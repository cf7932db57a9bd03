import io
import sys

import numpy as np

from jaxedit.convert.progress_bar import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Array:
    shape, dtype = (4, 8), np.dtype(np.float32)

    def chunks(self):
        yield from np.zeros((2, 2, 8), np.float32)


def take(watch, arrays):
    return [chunk for array in arrays.values() for chunk in array.chunks()]


def test_a_line_per_network_elsewhere(capsys):
    with ProgressBar() as watch:
        seen = watch.arrays({"bsq/a": Array(), "t5/b": Array(), "t5/c": Array()})
        assert all(array.shape == (4, 8) and array.dtype == np.float32 for array in seen.values())
        assert len(take(watch, seen)) == 6
        take(watch, watch.arrays({"blocks.0": Array()}, "vit"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["bsq", "t5", "vit"]


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with ProgressBar() as watch:
        seen = watch.arrays({"bsq/a": Array(), "t5/b": Array()})
        take(watch, seen)
    assert "done" not in terminal.getvalue() and "256" in terminal.getvalue()
