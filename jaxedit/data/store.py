"""Random access to the pairs of a store on disk, without the rows on its drop lists."""

import concurrent.futures
import contextlib
import os
import pathlib
import re
from typing import Any

import numpy as np

from jaxedit.config import ConfigError, require
from jaxedit.data import drop_list, held_out, record
from jaxedit.data.record import Record

METADATA = "dataset_info.json"  # written last
_BEGUN = ("conversion", "*.array_record*")  # files of an unfinished conversion
_ADDRESS = re.compile(r"\w{2,}:/")  # one slash: pathlib removes the other
_OPENED = 16  # shards that are checked at a time


class Store:
    """The records of a store, with encoded pictures; picklable and safe to share by threads."""

    def __init__(self, directory: str | os.PathLike, *, keeps_dropped: bool = False) -> None:
        """Check the metadata and the length of every shard.

        Args:
          keeps_dropped: also return the rows on the drop lists; an index is then a row's number.

        Raises:
          ConfigError: not a complete store of this version, or a drop list of another store.
        """
        self.directory = pathlib.Path(directory)
        self._rows = _open(self.directory)
        dropped = [] if keeps_dropped else self._dropped()
        require(len(dropped) < len(self._rows), f"{self.directory}: its drop lists drop every row")
        self._numbers = np.delete(np.arange(len(self._rows)), dropped) if dropped else None

    @property
    def name(self) -> str:
        """Return the name of the directory."""
        return self.directory.absolute().name

    def __len__(self) -> int:
        """Return the number of rows that are not dropped."""
        return len(self._rows) if self._numbers is None else len(self._numbers)

    def __getitem__(self, index: int) -> Record:
        """Return row `index` among the rows that are not dropped.

        Raises:
          OSError: the record is damaged.
        """
        return self.read(self.number_of(index))

    def keys(self) -> np.ndarray:
        """Return u64[rows], for each row that is not dropped a hash of its number and its store.

        Turns of a conversation have different keys, because their group is known only from records.
        """
        numbers = np.arange(len(self._rows)) if self._numbers is None else self._numbers
        return held_out.hash_keys(numbers, held_out.key_of(self.name))

    def number_of(self, index: int) -> int:
        """Return the number, among all rows of the shards, of row `index`."""
        return index if self._numbers is None else int(self._numbers[index])

    @property
    def rows(self) -> int:
        """Return the number of all rows of the shards."""
        return len(self._rows)

    def read(self, number: int) -> Record:
        """Return the row with this number among all rows of the shards.

        Raises:
          OSError: the record is damaged.
        """
        try:
            return record.decode(self._rows[number])
        except Exception as error:  # of Riegeli, protobuf or TFDS
            raise damaged(self.directory, number, error) from error

    def _dropped(self) -> list[int]:
        """Return the numbers of the rows on the drop lists; the last id of each list is checked."""
        numbers: set[int] = set()
        for path in drop_list.paths_in(self.directory):
            rows = drop_list.read(path)
            found = {row.row for row in rows}
            fits = not rows or (
                0 <= min(found) <= max(found) < len(self._rows)
                and self.read(rows[-1].row).id == rows[-1].id
            )
            require(fits, f"{path}: not of the rows of this store: make it again")
            numbers |= found
        return sorted(numbers)


def is_store(directory: str | os.PathLike) -> bool:
    """Tell whether the directory is a store, even if damaged or unfinished."""
    directory = pathlib.Path(directory)
    return any(next(directory.glob(name), None) for name in (METADATA, *_BEGUN))


def require_local(path: str | os.PathLike, option: str) -> None:
    """Raise ConfigError if a path is an address such as gs://bucket/stores.

    Data must be on a local disk, because they are read at random positions.
    """
    require(
        not _ADDRESS.match(os.fspath(path)),
        f"{option}={path}: expected a local path; copy it here, or mount the bucket (gcsfuse)",
    )


def damaged(directory: pathlib.Path, number: int, error: Exception) -> OSError:
    """Return the exception for a record that cannot be read, with a message of one line."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return OSError(f"{directory}: row {number} is damaged: {reason}")


def _open(directory: pathlib.Path) -> Any:
    """Return the examples of a store, as a data source of TFDS."""
    import tensorflow_datasets as tfds  # slow to import

    require_local(directory, "store")
    require(directory.is_dir(), f"{directory}: no such directory: expected a store")
    if not (directory / METADATA).is_file():
        found = (
            "conversion did not finish: run again" if is_store(directory) else "not a store; see"
        )
        raise ConfigError(f"{directory}: {found} python -m jaxedit.datasets.convert")
    try:
        builder = tfds.builder_from_directory(directory)
        version, split = str(builder.info.version), builder.info.splits[record.SPLIT]
        names = set(builder.info.features)
    except Exception as error:  # TFDS raises many kinds
        raise ConfigError(f"{directory}: its metadata are damaged: convert it again") from error
    require(
        version == record.VERSION and names == set(record.features(keeps_labels=False)),
        f"{directory}: a store of version {version}: expected {record.VERSION}: convert it again",
    )
    _check_lengths(split)
    return builder.as_data_source(record.SPLIT, decoders=record.decoders())


def _check_lengths(split: Any) -> None:
    """Raise ConfigError for a shard that is missing or truncated, which readers do not notice."""
    from array_record.python.array_record_module import ArrayRecordReader

    def length(path: os.PathLike) -> int:
        try:
            with contextlib.closing(ArrayRecordReader(os.fspath(path))) as reader:
                return reader.num_records()
        except RuntimeError as error:
            raise ConfigError(f"{path}: shard is missing or damaged: convert it again") from error

    with concurrent.futures.ThreadPoolExecutor(_OPENED) as pool:
        found = pool.map(length, split.filepaths)
        for path, rows, expected in zip(split.filepaths, found, split.shard_lengths, strict=True):
            require(
                rows == expected,
                f"{path}: shard has {rows} rows: expected {expected}: convert it again",
            )
