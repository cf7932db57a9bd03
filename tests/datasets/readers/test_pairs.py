import json
import pathlib
import pickle

import pytest
from fabricate_pairs import folder, picture

from jaxedit.config import ConfigError
from jaxedit.datasets.readers import open_published
from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.pairs import Pairs

LINE = {"source": "a.png", "target": "b.png", "instruction": "make it snow"}


def rows(pairs):
    return [row for part in pairs.parts() for row in pairs.read(part)]


def table(directory: pathlib.Path, text: str, name: str = "pairs.jsonl") -> pathlib.Path:
    picture(directory / "a.png", 0)
    picture(directory / "b.png", 1)
    (directory / name).write_text(text, encoding="utf-8")
    return directory / name


def test_a_folder_by_names(tmp_path):
    folder(tmp_path, 3, masks=True)
    (tmp_path / "mask" / "p001.png").unlink()
    first, second, third = rows(open_published("pairs", tmp_path))
    assert first == Example(
        key="p000",
        source=(tmp_path / "source/p000.jpg").read_bytes(),
        target=(tmp_path / "target/p000.png").read_bytes(),
        instruction="make it 0",
        mask=(tmp_path / "mask/p000.png").read_bytes(),
    )
    assert second.mask is None and third.instruction == "make it 2"


def test_a_folder_that_lacks_files(tmp_path):
    folder(tmp_path, 5)
    (tmp_path / "target" / "p000.png").unlink()
    (tmp_path / "source" / "p004.jpg").unlink()
    (tmp_path / "instruction" / "p001.txt").unlink()
    (tmp_path / "instruction" / "p002.txt").write_text("  \n")
    (tmp_path / "instruction" / "p003.txt").write_bytes(b"\xff\xfe\xff")
    assert rows(Pairs(tmp_path)) == [
        Drop("p000", "target not found"),
        Drop("p001", "instruction not found"),
        Drop("p002", "empty instruction"),
        Drop("p003", "instruction not readable"),
        Drop("p004", "source not found"),
    ]


def test_a_folder_with_a_name_twice(tmp_path):
    folder(tmp_path, 1)
    picture(tmp_path / "source" / "p000.png", 0)
    with pytest.raises(ConfigError, match="source: expected one file of the name p000, found sev"):
        Pairs(tmp_path)


def test_lines_of_json(tmp_path):
    lines = [
        json.dumps(LINE),
        "",
        "{",
        json.dumps({**LINE, "mask": 3}),
        json.dumps({**LINE, "instruction": ""}),
        json.dumps({**LINE, "target": "none.png"}),
        json.dumps({"target": "b.png", "instruction": "x", "task": "canny"}),
        json.dumps({**LINE, "colour": "red"}),
        json.dumps({**LINE, "task": "paint"}),
        json.dumps({**LINE, "task": "add_remove", "mask": "a.png"}),
    ]
    path = table(tmp_path, "\n".join(lines))
    found = rows(Pairs(path))
    assert found == rows(Pairs(tmp_path))  # the folder stands for the only list in it
    assert found[0].source == (tmp_path / "a.png").read_bytes() and found[0].mask is None
    assert found[1:-1] == [
        Drop("pairs.jsonl:3", "not a line of texts"),
        Drop("pairs.jsonl:4", "not a line of texts"),
        Drop("pairs.jsonl:5", "empty instruction"),
        Drop("pairs.jsonl:6", "target not found"),
        Drop("pairs.jsonl:7", "no source"),
        Drop("pairs.jsonl:8", "unknown column"),
        Drop("pairs.jsonl:9", "unknown task"),
    ]
    assert (found[-1].task, found[-1].edit_type_raw) == ("edit", "add_remove") and found[-1].mask


def test_columns(tmp_path):
    text = '\ufeffinstruction,source,target,mask\n"add, say, snow",a.png,b.png,\nrain,a.png\n'
    first, second = rows(Pairs(table(tmp_path, text, "pairs.csv")))
    assert first.instruction == "add, say, snow" and first.mask is None
    assert second == Drop("pairs.csv:3", "wrong number of columns")


def test_maps_are_kept_without_loss_in_their_own_store(tmp_path):
    labels = json.dumps({**LINE, "task": "segmentation"})
    pairs = Pairs(table(tmp_path, labels))
    assert pairs.keeps_labels and rows(pairs)[0].task == "segmentation"
    assert not Pairs(table(tmp_path, json.dumps({**LINE, "task": "depth"}))).keeps_labels
    with pytest.raises(
        ConfigError, match=r"expected maps \(segmentation\) and other pairs in separate"
    ):
        Pairs(table(tmp_path, f"{labels}\n{json.dumps(LINE)}"))


def test_pieces_are_ranges_of_the_list(tmp_path):
    lines = [json.dumps({**LINE, "instruction": f"{i}"}) for i in range(401)]
    pairs = Pairs(table(tmp_path, "\n".join(lines)))
    assert [len(part) for part in pairs.parts()] == [200, 200, 1]
    assert [row.instruction for row in rows(pairs)] == [str(i) for i in range(401)]
    copy = pickle.loads(pickle.dumps(pairs))  # a process gets the pieces separately
    assert copy.parts() == [] and list(copy.read(pairs.parts()[2])) == rows(pairs)[400:]
    assert Pairs(table(tmp_path, "\n")).parts() == []


def test_what_is_no_list_of_pairs(tmp_path):
    for path, message in (
        (tmp_path / "none", "none: no such file or directory"),
        (tmp_path, "source, target, instruction missing: expected source/, target/"),
        (table(tmp_path / "x", "", "pairs.txt"), "expected a folder, .jsonl or .csv"),
        (table(tmp_path / "y", "source,target\n", "a.csv"), "columns source, target: expected"),
        (table(tmp_path / "z", 'source,target,instruction\n"a\n', "a.csv"), "line 1: expected CSV"),
    ):
        with pytest.raises(ConfigError, match=message) as error:
            Pairs(path)
        assert "\n" not in str(error.value)
    (tmp_path / "y" / "b.jsonl").write_text("")
    with pytest.raises(ConfigError, match="expected one list, found a.csv, b.jsonl"):
        Pairs(tmp_path / "y")


def test_names_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="--dataset=pears: expected one of pairs, seed-unsplash"):
        open_published("pears", tmp_path)
    with pytest.raises(ConfigError, match="--scratch=x: pairs has no archives to unpack"):
        open_published("pairs", tmp_path, "x")


@pytest.mark.parametrize("path", ["a\\u0000.png", "\\ud83d.png"])
def test_a_path_that_no_file_has_costs_its_row_alone(tmp_path, path):
    good = json.dumps(LINE)
    found = rows(Pairs(table(tmp_path, "\n".join([good, good.replace("a.png", path), good]))))
    assert [isinstance(row, Drop) for row in found] == [False, True, False]


def test_a_csv_path_with_a_nul(tmp_path):
    text = "source,target,instruction\na.png,b.png,x\na\0.png,b.png,x\na.png,b.png,x\n"
    found = rows(Pairs(table(tmp_path, text, "pairs.csv")))
    assert [isinstance(row, Drop) for row in found] == [False, True, False]
