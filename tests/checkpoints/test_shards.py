import json

import numpy as np
import pytest

from jaxedit.checkpoints import shards


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Three arrays of 24 bytes in shards of 50."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 50)
    shards.write(tmp_path, arrays(), dict.fromkeys("abc", np.dtype(np.float32)))
    return tmp_path


def arrays():
    return {name: np.full((2, 3), i, np.float32) for i, name in enumerate("abc")}


def test_names_by_hand(directory):
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    assert index == {
        "metadata": {"total_size": 72},
        "weight_map": {"a": names[0], "b": names[0], "c": names[1]},
    }
    assert [file.name for file in shards.files_of(directory)] == names
    assert shards.exist(directory)
    found = shards.read(directory)
    assert all(np.array_equal(found[name][...], array) for name, array in arrays().items())


def test_one_file_needs_no_index(tmp_path):
    shards.write(tmp_path, arrays(), dict.fromkeys("abc", np.dtype(np.float16)))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert shards.read(tmp_path).keys() == set("abc")


def test_groups():
    assert shards.split({}) == [[]]
    monster = {"a": shards.SHARD_BYTES + 1, "b": 1, "c": shards.SHARD_BYTES - 1, "d": 1}
    assert shards.split(monster) == [["a"], ["b", "c"], ["d"]]


def test_no_room_is_told_before_anything_is_written(tmp_path):
    shapes, dtypes = {"a": (10**15,)}, {"a": np.dtype(np.float32)}
    with pytest.raises(OSError, match="4000000.00 GB needed"):
        shards.require_room(tmp_path, shapes, dtypes)


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.clear(),
        lambda index: index.update(weight_map={}),
        lambda index: index.update(weight_map=["a"]),
        lambda index: index["weight_map"].update(a="../elsewhere.safetensors"),
        lambda index: index["weight_map"].update(a="/etc/passwd"),
        lambda index: index["weight_map"].update(a=".."),
        lambda index: index["weight_map"].update(d=index["weight_map"]["a"]),
        lambda index: index["weight_map"].update(a=index["weight_map"]["c"]),
        lambda index: index["weight_map"].pop("b"),
    ],
)
def test_damaged_indexes(directory, change):
    path = directory / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="index.json: ") as error:
        shards.read(directory)
    assert "\n" not in str(error.value)


def test_a_missing_shard_is_named(directory):
    shards.files_of(directory)[1].unlink()
    with pytest.raises(FileNotFoundError, match="model-00002-of-00002.safetensors: no such file"):
        shards.read(directory)
