import json
import logging
import pathlib

import pytest

from jaxedit.config import ConfigError
from jaxedit.data.pair_list import PairList

LINE = {"source": "a.png", "target": "a.png", "instruction": "make it snow"}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a list of 300 rows, whose last rows are the given bad lines."""
    (tmp_path / "a.png").touch()

    def call(*bad, rows=300):
        lines = [json.dumps(LINE)] * (rows - len(bad))
        lines += [x if isinstance(x, str) else json.dumps(x) for x in bad]
        (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
        return tmp_path / "pairs.jsonl"

    return call


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "expected a JSON object: not JSON"),
        ("[1]", "expected texts for source, target, instruction"),
        ({**LINE, "instruction": "half \ud83d"}, "not a whole character"),
        ({**LINE, "source": "a\0.png"}, "not a whole character"),
        ({**LINE, "source": "absent.png"}, "source 'absent.png' is not a file"),
        ({**LINE, "task": "edge"}, "task 'edge': expected one of"),
        ({**LINE, "instruction": ""}, "expected texts for"),
    ],
)
def test_few_bad_rows_are_dropped_and_said(write, caplog, bad, reason):
    pairs = PairList(write(bad))
    assert len(pairs.rows) == 299
    said, count = caplog.messages
    assert "pairs.jsonl, line 300: " in said and reason in said and said.endswith(": dropped")
    assert count.endswith("pairs.jsonl: 1 of 300 rows dropped")


def test_many_bad_rows_are_listed(write):
    with pytest.raises(ConfigError) as error:
        PairList(write(*["{"] * 25))
    *lines, last = str(error.value).splitlines()
    assert len(lines) == 20 and all(f"line {276 + i}: " in x for i, x in enumerate(lines))
    assert last == "and 5 more (25 of 300 rows are bad: expected at most 1%)"
    with pytest.raises(
        ConfigError, match="line 2: .* is not a file .*1 of 2 rows are bad"
    ) as error:
        PairList(write({**LINE, "target": "b.png"}, rows=2))
    assert "\n" not in str(error.value)


def test_pictures_are_looked_up_once(write, monkeypatch):
    looked = []
    is_file = pathlib.Path.is_file
    monkeypatch.setattr(pathlib.Path, "is_file", lambda p: looked.append(p.name) or is_file(p))
    path = write({**LINE, "source": "late.png"})
    assert len(PairList(path).rows) == 299 and len(looked) == 599
    looked.clear()
    assert len(PairList(path).rows) == 299 and looked == [
        "late.png"
    ]  # the bad line is checked again
    (path.parent / "late.png").touch()
    assert len(PairList(path).rows) == 300
    path.write_text(path.read_text() + "\n")  # another list
    looked.clear()
    assert len(PairList(path).rows) == 300 and len(looked) == 600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sha256": 1}', "\0"])
def test_a_damaged_note_is_ignored(write, text):
    path = write()
    (path.parent / ".pairs.jsonl.checked").write_text(text)
    assert len(PairList(path).rows) == 300


def test_without_a_place_for_the_note(write, monkeypatch, caplog):
    def refuse(*args):
        raise OSError(30, "Read-only file system")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(pathlib.Path, "replace", refuse)
    assert len(PairList(write()).rows) == 300
    assert "not remembered" in caplog.text
