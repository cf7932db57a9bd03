"""The hashes of a store's rows: computed once, whatever the rows are compared with.

STORE/hashes/00000.npz    of rows 0 to 4095; the next file of the next 4096 rows, and so on
"""

import pathlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt64

from jaxedit.atomic_write import atomic_write
from jaxedit.data.store import METADATA, Store
from jaxedit.datasets.near_duplicates.perceptual_hash import hashes_of
from jaxedit.engines.engine import run_jobs
from jaxedit.engines.options import ShardConfig
from jaxedit.progress import progress_bar

_ROWS = 4096  # rows of a file, which take about 10 s
_HASHES = 4  # of source and target, whole and their middle squares


class Block(NamedTuple):
    """The hashes of consecutive rows.

    Attributes:
      start: number of the first row.
      bits: perceptual hashes; a row with fewer than 4 repeats its lowest hash.
      targets: SHA-256 of the published targets, hexadecimal.
    """

    start: int
    bits: UInt64[np.ndarray, "rows 4"]
    targets: np.ndarray


class Job(NamedTuple):
    """Files of a store's hashes to write, for an engine."""

    store: Store
    numbers: Sequence[int]

    def __str__(self) -> str:
        """Return the name in messages."""
        return f"hashes of {self.store.name}"


def hash_rows(store: Store, config: ShardConfig) -> None:
    """Write the files of hashes that a store lacks, or a shard of all its files.

    Args:
      store: opened with its dropped rows.
      config: engine, workers and shard; each worker takes an equal number of files.

    Raises:
      OSError: a row is damaged, or a file cannot be written.
    """
    numbers = range(-(-len(store) // _ROWS))
    numbers = numbers if config.shard is None else config.shard.of(numbers)
    missing = [number for number in numbers if _read(store, number) is None]
    workers = max(min(config.workers, len(missing)), 1)
    jobs = [Job(store, missing[i::workers]) for i in range(workers) if missing]
    with progress_bar(f"hashes of {store.name}", len(numbers), unit="files") as bar:
        bar.update(len(numbers) - len(missing))
        run_jobs(write_hashes, jobs, bar.update, engine=config.engine, workers=workers)


def write_hashes(job: Job, seen: Callable[[], object]) -> None:
    """Write the files of a job that are missing.

    Raises:
      OSError: a row is damaged, or a file cannot be written.
    """
    for number in job.numbers:
        if _read(job.store, number) is None:
            _write(job.store, number)
        seen()


def blocks_of(store: Store) -> Iterator[Block]:
    """Yield the hashes of all rows, in order, which `hash_rows` has written.

    Raises:
      OSError: a file is not there any more.
    """
    for number in range(-(-len(store) // _ROWS)):
        block = _read(store, number)
        if block is None:
            raise OSError(f"{_path(store, number)}: another process removed it; run again")
        yield block


def _rows_of(store: Store, number: int) -> range:
    return range(len(store))[number * _ROWS : (number + 1) * _ROWS]


def _path(store: Store, number: int) -> pathlib.Path:
    return store.directory / "hashes" / f"{number:05}.npz"


def _write(store: Store, number: int) -> None:
    bits, targets = [], []
    for row in _rows_of(store, number):
        record = store[row]
        found = sorted(hashes_of(record))
        bits.append(found + found[:1] * (_HASHES - len(found)))
        targets.append(record.target_sha256)
    path = _path(store, number)
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as part, part.open("wb") as file:
        arrays = {"bits": np.array(bits, np.uint64), "targets": np.array(targets, "S64")}
        np.savez(file, **arrays)


def _read(store: Store, number: int) -> Block | None:
    """Return the hashes in a file; None if it is missing, or older than the store."""
    path, rows = _path(store, number), _rows_of(store, number)
    try:
        if path.stat().st_mtime < (store.directory / METADATA).stat().st_mtime:
            return None
        with np.load(path) as file:
            block = Block(rows.start, file["bits"], file["targets"])
    except (FileNotFoundError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return block if len(block.bits) == len(rows) else None
