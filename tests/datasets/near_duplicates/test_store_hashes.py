import os
import pickle

import numpy as np
import pytest
from fabricate_store import make_record, write_store

from jaxedit.data.store import METADATA, Store
from jaxedit.datasets.near_duplicates import store_hashes
from jaxedit.datasets.near_duplicates.perceptual_hash import hashes_of
from jaxedit.datasets.near_duplicates.store_hashes import Job, blocks_of, hash_rows, write_hashes
from jaxedit.engines.options import Shard, ShardConfig


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of five rows, two of which share a file of hashes."""
    monkeypatch.setattr(store_hashes, "_ROWS", 2)
    records = [make_record(i, target_sha256=f"{i:064x}") for i in range(5)]
    return Store(write_store(tmp_path / "mine", records))


def written(store):
    return {path.name: path.read_bytes() for path in (store.directory / "hashes").iterdir()}


def test_every_row_has_its_hashes(store):
    hash_rows(store, ShardConfig())
    blocks = list(blocks_of(store))
    assert [block.start for block in blocks] == [0, 2, 4]
    bits = np.concatenate([block.bits for block in blocks])
    assert [set(row.tolist()) for row in bits] == [hashes_of(store[i]) for i in range(5)]
    assert blocks[1].targets.tolist() == [f"{i:064x}".encode() for i in (2, 3)]


def test_a_job_goes_on_in_another_process(store, monkeypatch):
    hash_rows(store, ShardConfig())
    whole, seen = written(store), []
    (store.directory / "hashes/00001.npz").unlink()
    (store.directory / "hashes/00002.npz").write_bytes(b"damaged")
    job = pickle.loads(pickle.dumps(Job(store, [0, 1, 2])))
    assert str(job) == "hashes of mine"
    write_hashes(job, lambda: seen.append(True))
    assert len(seen) == 3 and written(store) == whole


def test_shards_are_done_apart(store):
    for i in range(2):
        hash_rows(store, ShardConfig(shard=Shard(i, 2)))
        assert len(written(store)) == (2, 3)[i]


def test_a_store_that_is_written_again_is_hashed_again(store):
    hash_rows(store, ShardConfig())
    later = (store.directory / "hashes/00002.npz").stat().st_mtime + 1
    os.utime(store.directory / METADATA, (later, later))
    with pytest.raises(OSError, match="00000.npz: .*run again"):
        list(blocks_of(store))
