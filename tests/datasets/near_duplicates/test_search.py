import hashlib
import io
import json
import sys

import numpy as np
import pytest
from fabricate_store import make_record, write_store
from PIL import Image

from jaxedit.data import toybox
from jaxedit.data.store import Store
from jaxedit.datasets.near_duplicates import store_hashes
from jaxedit.datasets.near_duplicates.__main__ import main


def jpeg(pixels, size=128, quality=90):
    file = io.BytesIO()
    Image.fromarray(pixels).resize((size, size)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def pixels(index):
    return toybox.make(0, index, 2).source


@pytest.fixture
def store(tmp_path):
    """Write a store whose row i has the source scene 2 i and the target scene 2 i + 1."""
    records = [
        make_record(i, source=jpeg(pixels(2 * i)), target=jpeg(pixels(2 * i + 1))) for i in range(6)
    ]
    records[5] = records[5]._replace(target_sha256=hashlib.sha256(b"x").hexdigest())
    return write_store(tmp_path / "mine", records)


@pytest.fixture
def pictures(tmp_path):
    """Write scene 2, smaller, and scene 7, in the middle of a wide picture, to two folders."""
    for name in ("a", "b"):
        (tmp_path / "pie" / name).mkdir(parents=True)
    (tmp_path / "pie" / "a" / "2.jpg").write_bytes(jpeg(pixels(2), 96, 70))
    wide = np.full((128, 200, 3), 255, np.uint8)
    wide[:, 36:164] = pixels(7)
    Image.fromarray(wide).save(tmp_path / "pie" / "b" / "7.PNG")
    (tmp_path / "pie" / "notes.txt").write_text("x")
    return tmp_path / "pie"


def search(*arguments):
    return main([f"--{name}={value}" for name, value in arguments])


def test_rows_with_evaluation_pictures_are_dropped(store, pictures, capsys):
    assert search(("store", store), ("against", pictures)) == 0
    assert "mine: 2 of 6 rows show one of 2 pictures: " in capsys.readouterr().out
    kept = Store(store)
    assert [kept.number_of(i) for i in range(len(kept))] == [0, 2, 4, 5]
    text = (store / "drop.near_duplicates.jsonl").read_text().splitlines()
    assert "bits from" in text[0] and "a/2.jpg" in text[0] and "b/7.PNG" in text[1]


def test_the_same_file_and_a_damaged_one(store, pictures, capsys):
    (pictures / "damaged.png").write_bytes(b"x")
    (pictures / "empty.png").write_bytes(b"")
    assert search(("store", store), ("against", pictures)) == 0
    assert "not compared: " in capsys.readouterr().err
    other = write_store(
        store.parent / "eval",
        [make_record(0, target=jpeg(pixels(99)), target_sha256=hashlib.sha256(b"x").hexdigest())],
        1,
    )
    assert search(("store", store), ("against", other)) == 0
    (line,) = (store / "drop.near_duplicates.jsonl").read_text().splitlines()
    assert '"row": 5' in line and "same file as pipe/train/0" in line


def test_shards_hash_what_a_whole_run_compares(store, pictures, capsys, monkeypatch):
    monkeypatch.setattr(store_hashes, "_ROWS", 2)
    drops, given = store / "drop.near_duplicates.jsonl", (("store", store), ("against", pictures))
    assert search(*given, ("shard", "1/2")) == 0
    given += (("workers", 1),)
    assert "hashes of shard 1/2 are there" in capsys.readouterr().out and not drops.exists()
    assert [path.name for path in (store / "hashes").iterdir()] == ["00001.npz"]
    assert search(*given) == 0
    found = drops.read_text()
    assert [json.loads(line)["row"] for line in found.splitlines()] == [1, 3]
    monkeypatch.setattr(store_hashes, "hashes_of", None)  # nothing is computed again
    assert search(*given, ("distance", 31)) == 0
    assert len(drops.read_text().splitlines()) == 6
    assert search(*given) == 0 and drops.read_text() == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("distance", 64), "--distance=64: expected 0 to 31"),
        (("workers", 0), "workers=0: expected a positive whole number"),
        (("shard", "3/3"), "--shard: '3/3': expected I/N with 0 <= I < N"),
        (("against", "none"), "--against=none: no such directory"),
        (("store", "none"), "none: no such directory: expected a store"),
    ],
)
def test_bad_input(store, pictures, capsys, change, message):
    assert search(("store", store), ("against", pictures), change) == 2
    assert message in capsys.readouterr().err


def test_without_imagehash(store, pictures, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagehash", None)
    assert search(("store", store), ("against", pictures)) == 2
    error = capsys.readouterr().err
    assert "pip install 'jaxedit[datasets]'" in error and error.count("\n") == 1


def test_no_pictures(store, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert search(("store", store), ("against", tmp_path / "empty")) == 2
    assert "empty: expected pictures, found none" in capsys.readouterr().err
    assert not (store / "drop.near_duplicates.jsonl").exists()
