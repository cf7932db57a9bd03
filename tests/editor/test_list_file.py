import json
import os

import pytest

from jaxedit.editor import list_file


def write(tmp_path, *rows):
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return path


def test_rows_get_seeds_names_and_the_lists_folder(tmp_path):
    row = {"image": "a/b.jpg", "instruction": "make it blue"}
    path = write(tmp_path, row, "", row | {"seed": 99, "output": "sub/c.png"}, row)
    first, second, third = list_file.read(path, 5)
    assert first.image == str(tmp_path / "a/b.jpg") and first.output == "0000-b.png"
    assert (first.place, third.place) == ("list.jsonl:1", "list.jsonl:4")
    assert [first.seed, second.seed, third.seed] == [5, 99, 7] and second.output == "sub/c.png"


def test_a_folder_and_an_instruction(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).touch()
    first, second = list_file.of_folder(tmp_path, "make it blue", 5, tmp_path / "edits")
    assert first == list_file.Row(
        "a.png",
        image=str(tmp_path / "a.png"),
        text="make it blue",
        seed=5,
        output="0000-a.png",
    )
    assert (second.output, second.seed) == ("0001-b.png", 6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no pictures in it: expected names in .avif"):
        list_file.of_folder(tmp_path / "empty", "make it blue", 0, tmp_path / "edits")
    with pytest.raises(ValueError, match="the folder of the pictures: expected another folder"):
        list_file.of_folder(tmp_path, "make it blue", 0, tmp_path / "empty" / "..")


@pytest.mark.parametrize(
    "row, error",
    [
        ("{", "not JSON"),
        ("[1]", "expected a JSON object"),
        ({"image": "a.png"}, "missing keys ['instruction']"),
        ({"image": "a.png", "instruction": "x", "sed": 1}, "unknown keys ['sed']"),
        ({"image": 1, "instruction": "x"}, "image=1: expected str"),
        ({"image": "a.png", "instruction": "x", "seed": -1}, "seed=-1: expected 0 to"),
        ({"image": "a.png", "instruction": "x", "seed": True}, "seed=True: expected 0 to"),
        ({"image": "a.png", "instruction": "x", "output": "../b.png"}, "below the output folder"),
        ({"image": "a.png", "instruction": "x", "output": "b.jpg"}, "expected a .png name"),
    ],
)
def test_a_bad_row_says_why_and_leaves_the_others(tmp_path, row, error):
    good = {"image": "a.png", "instruction": "x"}
    rows = list_file.read(write(tmp_path, good, row, good), 0)
    assert error in rows[1].error and not rows[0].error and not rows[2].error


def test_two_rows_may_not_share_an_output(tmp_path):
    row = {"image": "a.png", "instruction": "x", "output": "b.png"}
    assert "an earlier row" in list_file.read(write(tmp_path, row, row), 0)[1].error


def test_lists_that_cannot_be_read(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        list_file.read(tmp_path / "absent.jsonl", 0)
    with pytest.raises(ValueError, match="found none"):
        list_file.read(write(tmp_path, ""), 0)
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="expected lines of JSON"):
        list_file.read(tmp_path / "binary.jsonl", 0)


@pytest.mark.parametrize(
    "one, other", [("b.png", "./b.png"), ("c/b.png", "c//b.png"), ("\u00e9.png", "e\u0301.png")]
)
def test_two_spellings_of_an_output_are_one(tmp_path, one, other):
    row = {"image": "a.png", "instruction": "x"}
    path = write(tmp_path, row | {"output": one}, row | {"output": other})
    assert "an earlier row has it too (list.jsonl:1)" in list_file.read(path, 0)[1].error


@pytest.mark.parametrize("ignores_case", [True, False])
def test_case_counts_where_the_file_system_says_so(tmp_path, monkeypatch, ignores_case):
    row = {"image": "a.png", "instruction": "x"}
    path = write(tmp_path, row | {"output": "b.png"}, row | {"output": "B.png"})
    monkeypatch.setattr(os.path, "exists", lambda path: ignores_case)
    assert bool(list_file.read(path, 0, tmp_path)[1].error) == ignores_case


def test_no_output_replaces_a_picture_of_the_list(tmp_path):
    row = {"image": "a.png", "instruction": "x"}
    path = write(tmp_path, row | {"output": "c.png"}, {**row, "image": "./c.png"})
    first, second = list_file.read(path, 0)
    assert "would replace the picture of list.jsonl:2" in first.error and not second.error
    assert not list_file.read(path, 0, tmp_path / "elsewhere")[0].error
