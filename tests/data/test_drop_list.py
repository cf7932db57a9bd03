import json

import pytest

from jaxedit.config import ConfigError
from jaxedit.data import drop_list
from jaxedit.data.drop_list import Dropped


def test_a_list_is_replaced_and_read(tmp_path):
    rows = [Dropped(3, "mine/train/a\tb", "line\nbreak"), Dropped(9, "mine/train/é", "")]
    drop_list.write(tmp_path, "old", [])
    drop_list.write(tmp_path, "mine", [Dropped(1, "x", "y")])
    path = drop_list.write(tmp_path, "mine", iter(rows))
    assert drop_list.read(path) == rows
    assert json.loads(path.read_text().splitlines()[0])["row"] == 3
    assert [p.name for p in drop_list.paths_in(tmp_path)] == ["drop.mine.jsonl", "drop.old.jsonl"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "text", ["{", "[1]", "1", '{"row": 1}', '{"row": "1", "id": "a", "reason": ""}']
)
def test_damaged_lists(tmp_path, text):
    path = drop_list.drop_list_path(tmp_path, "mine")
    path.write_text(text)
    with pytest.raises(ConfigError, match="drop.mine.jsonl: expected lines of row, id and reason"):
        drop_list.read(path)


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(OSError, match="drop.mine.jsonl: not written: No such file"):
        drop_list.write(tmp_path / "none", "mine", [])
