import pathlib
import pickle
import shutil
import subprocess
import sys

import pytest
from fabricate_store import make_record, write_store

from jaxedit.config import ConfigError
from jaxedit.data import drop_list
from jaxedit.data.drop_list import Dropped
from jaxedit.data.store import Store, is_store, require_local


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    records = [make_record(i) for i in range(7)]
    return write_store(tmp_path_factory.mktemp("stores") / "pipe", records)


@pytest.fixture
def directory(written, tmp_path):
    """Return a copy of the store that a test may damage."""
    return shutil.copytree(written, tmp_path / "pipe")


def test_rows_come_from_all_shards_in_order(written):
    store = Store(written)
    assert (len(store), store.name) == (7, "pipe")
    assert [store[i].id for i in range(7)] == [f"pipe/train/{i}" for i in range(7)]
    assert store[6] == make_record(6)


def test_a_copy_for_another_process(written):
    assert pickle.loads(pickle.dumps(Store(written)))[4] == make_record(4)


def test_drop_lists(directory):
    drop_list.write(directory, "a", [Dropped(i, f"pipe/train/{i}", "blurred") for i in (1, 5)])
    drop_list.write(directory, "b", [Dropped(i, f"pipe/train/{i}", "leaked") for i in (1, 0)])
    store = Store(directory)
    assert [store[i].id[-1] for i in range(len(store))] == ["2", "3", "4", "6"]
    assert [store.number_of(i) for i in range(4)] == [2, 3, 4, 6]
    assert len(Store(directory, keeps_dropped=True)) == 7
    drop_list.write(directory, "a", [])
    assert len(Store(directory)) == 5


@pytest.mark.parametrize("rows", [[(1, "pipe/train/4")], [(7, "pipe/train/7")], [(-1, "pipe")]])
def test_drop_lists_of_another_store(directory, rows):
    drop_list.write(directory, "a", [Dropped(*row, "blurred") for row in rows])
    with pytest.raises(ConfigError, match="drop.a.jsonl: not of the rows of this store: make it"):
        Store(directory)


def test_nothing_is_left(directory):
    drop_list.write(directory, "a", [Dropped(i, f"pipe/train/{i}", "x") for i in range(7)])
    with pytest.raises(ConfigError, match="pipe: its drop lists drop every row"):
        Store(directory)


def test_an_unfinished_conversion(directory):
    (directory / "dataset_info.json").unlink()
    assert is_store(directory)
    with pytest.raises(ConfigError, match="pipe: conversion did not finish: run again python -m"):
        Store(directory)


def test_no_store(tmp_path):
    with pytest.raises(ConfigError, match="no such directory: expected a store"):
        Store(tmp_path / "none")
    assert not is_store(tmp_path) and not is_store(tmp_path / "none")
    with pytest.raises(ConfigError, match="not a store; see python -m jaxedit.datasets.convert"):
        Store(tmp_path)
    (tmp_path / "conversion").mkdir()  # a conversion without a complete shard
    assert is_store(tmp_path)


def test_another_version(tmp_path):
    with pytest.raises(ConfigError, match="a store of version 2.0.0: expected 1.0.0: convert it"):
        Store(write_store(tmp_path / "new", [make_record(0)], 1, version="2.0.0"))


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_damaged_metadata(directory, name):
    (directory / name).write_text("{")
    with pytest.raises(ConfigError, match="pipe: its metadata are damaged: convert it again"):
        Store(directory)


@pytest.mark.parametrize("length", [10, 65_536, -5])
def test_a_shard_that_is_cut_short(directory, length):
    shard = directory / "pipe-train.array_record-00001-of-00002"
    shard.write_bytes(shard.read_bytes()[:length])
    with pytest.raises(ConfigError, match="00001-of-00002: shard (has 0 rows: expected 3|is miss)"):
        Store(directory)


def test_a_missing_shard(directory):
    (directory / "pipe-train.array_record-00000-of-00002").unlink()
    with pytest.raises(ConfigError, match="00000-of-00002: shard is missing or damaged"):
        Store(directory)


def test_a_damaged_record_names_store_and_row(directory):
    shard = directory / "pipe-train.array_record-00001-of-00002"
    data = bytearray(shard.read_bytes())
    data[120:140] = bytes(20)
    shard.write_bytes(data)
    store = Store(directory)
    assert store[3].id == "pipe/train/3"
    with pytest.raises(OSError, match="pipe: row 4 is damaged: ") as error:
        store[4]
    assert "\n" not in str(error.value)


def test_tensorflow_is_not_imported(written):
    code = (
        f"import sys; from jaxedit.data.store import Store; Store({str(written)!r})[0]; "
        "print([m for m in ('tensorflow', 'torch') if m in sys.modules])"
    )
    assert "[]" in subprocess.check_output([sys.executable, "-c", code], text=True)


@pytest.mark.parametrize("path", ["stores/mine", "/data/a:b/c", "C:/stores", pathlib.Path("x:y")])
def test_local_paths(path):
    require_local(path, "--src")


@pytest.mark.parametrize("path", ["gs://bucket/x", "s3://b", "hf://datasets/a/b"])
@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_addresses(path, kind):
    with pytest.raises(ConfigError, match="--src=.*: expected a local path; copy it here, or mou"):
        require_local(kind(path), "--src")
