"""Data sets published on the Hub as parquet files, with a pair and its pictures in each row."""

import contextlib
import math
import os
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from jaxedit.config import ConfigError, require
from jaxedit.datasets.readers.example import Drop, Example

# Older file names end in a hash: train-00000-of-00002-5d1a9c0f4e3b2a17.parquet
_SHARD = re.compile(r"(?P<split>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]+)?\.parquet")
_BATCH = 16  # rows in memory at a time; a row may have three pictures of several megabytes
_ERRORS = (pa.ArrowException, OSError, ValueError)  # raised by pyarrow for damaged files

Columns = Mapping[str, str]  # role of a column -> the names that it may have, with spaces between


class Piece(NamedTuple):
    """A row group of a file, which is named without its directory."""

    file: str
    row_group: int


class ParquetSet:
    """A data set in parquet files; a subclass defines the roles of its columns.

    Files are looked up in `data/` in the directory, as on the Hub, or in the directory itself.
    Missing shards (such as `train-00003-of-00162.parquet` of 162) are not an error, because large
    sets are often downloaded in part: each gives a `Drop` with the reason "file missing".

    A role is a field of `Example`, or a name that the subclass's own `example` reads.
    """

    name: ClassVar[str]  # see `Published`
    keeps_labels: ClassVar[bool] = False  # see `Published`
    task: ClassVar[str] = "edit"  # task of every row
    splits: ClassVar[tuple[str, ...]] = ("train",)  # published splits to read; empty: all
    needs: ClassVar[Columns]  # required roles: source, target and instruction
    extras: ClassVar[Columns] = {}  # optional roles
    # the data set's edit type -> PIE-Bench's type; others have no counterpart, or several
    edit_types: ClassVar[Mapping[str, int]] = {}

    def __init__(self, directory: str | os.PathLike) -> None:
        """Find the files and the columns.

        Raises:
          ConfigError: no files of this data set, no readable file, or columns are missing.
        """
        self._directory, self._files = find_files(directory, self.splits)
        path, names = _first_schema(self._directory, self._files)
        try:
            choose_columns(names, self.needs, self.extras)
        except ConfigError as error:
            raise ConfigError(f"{path}: {self.name}: {error}") from error

    def parts(self) -> list[Piece]:
        """Return the row groups of all files in order; a missing or damaged file counts as one."""
        return [
            Piece(file, group)
            for file in self._files
            for group in range(_count_row_groups(self._directory / file))
        ]

    def read(self, part: Piece) -> Iterator[Example | Drop]:
        """Yield the rows of a row group, with keys `<file without .parquet>/<row in the file>`.

        Raises:
          ValueError: the file is damaged or lacks a column; the message names it.
        """
        path = self._directory / part.file
        stem = part.file.removesuffix(".parquet")
        if not path.exists():
            yield Drop(stem, "file missing")
            return
        for number, row in self._rows(path, part.row_group):
            key = f"{stem}/{number}"
            yield Drop(key, "unreadable row") if row is None else self.example(key, row)

    def _rows(
        self, path: pathlib.Path, row_group: int
    ) -> Iterator[tuple[int, dict[str, Any] | None]]:
        """Yield each row's number in the file and its values by role, or None for invalid text."""
        with open_parquet(path, row_group) as file:
            columns = choose_columns(file.schema_arrow.names, self.needs, self.extras)
            number = sum(file.metadata.row_group(i).num_rows for i in range(row_group))
            for batch in file.iter_batches(_BATCH, [row_group], list(columns.values())):
                for i in range(len(batch)):
                    yield number + i, _row(batch.slice(i, 1), columns)
                number += len(batch)

    def example(self, key: str, row: Mapping[str, Any]) -> Example | Drop:
        """Return a row, given as a value for each role, as a pair."""
        source, target = picture(row["source"]), picture(row["target"])
        instruction, edit_type = text(row["instruction"]), text(row.get("edit_type_raw"))
        if source is None or target is None:
            return Drop(key, "source not found" if source is None else "target not found")
        if not instruction:
            return Drop(key, "empty instruction")
        try:
            turn = int(row.get("turn") or 0)
            score = float(-1 if row.get("score") is None else row["score"])
        except (TypeError, ValueError):
            return Drop(key, "unreadable row")
        return Example(
            key=key,
            source=source,
            target=target,
            instruction=instruction,
            mask=picture(row.get("mask")),
            group=str(row.get("group") or ""),
            task=self.task,
            edit_type=self.edit_types.get(edit_type, -1),
            edit_type_raw=edit_type,
            turn=turn,
            source_caption=text(row.get("source_caption")),
            target_caption=text(row.get("target_caption")),
            score=score if math.isfinite(score) else -1.0,
        )


def picture(value: Any) -> bytes | None:
    """Return the encoded picture of an image column {"bytes", "path"} or a binary column."""
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) and data else None


def text(value: Any) -> str:
    """Return a text, the first text of a list that is not blank, or "" if there is none."""
    texts = value if isinstance(value, list) else [value]
    return next((x for x in texts if isinstance(x, str) and x.strip()), "")


def find_files(
    directory: str | os.PathLike, splits: Collection[str]
) -> tuple[pathlib.Path, list[str]]:
    """Return the directory of the shards, and the names of all shards in order.

    Args:
      splits: first parts of the shards' names; empty: any.

    Returns:
      The names include missing shards, whose number is known from the other names.

    Raises:
      ConfigError: there are no shards.
    """
    directory = pathlib.Path(directory)
    require(directory.is_dir(), f"{directory}: expected the directory of a downloaded data set")
    for place in (directory / "data", directory):
        found = sorted(path.name for path in place.glob("*.parquet"))
        matches = [(name, _SHARD.fullmatch(name)) for name in found]
        shards = [(name, m) for name, m in matches if m and (not splits or m["split"] in splits)]
        if shards:
            present = {(m["split"], m["count"], m["index"]): name for name, m in shards}
            counts = dict.fromkeys((split, count) for split, count, _ in present)
            return place, [
                present.get((split, count, index), f"{split}-{index}-of-{count}.parquet")
                for split, count in counts
                for index in (f"{i:05d}" for i in range(int(count)))
            ]
    wanted = " or ".join(splits) or "<split>"
    raise ConfigError(
        f"{directory}: expected data/{wanted}-00000-of-NNNNN.parquet as published on the Hub, "
        f"found {', '.join(sorted(x.name for x in directory.iterdir())[:5]) or 'nothing'}"
    )


def choose_columns(names: Collection[str], needs: Columns, extras: Columns) -> dict[str, str]:
    """Return role -> column: the first of the role's names that exists; extras may be missing.

    Raises:
      ConfigError: a required column does not exist.
    """
    chosen = {}
    for role, columns in {**needs, **extras}.items():
        present = [x for x in columns.split() if x in names]
        require(
            bool(present) or role not in needs,
            f"expected a column {' or '.join(columns.split())}, found {', '.join(sorted(names))}",
        )
        if present:
            chosen[role] = present[0]
    return chosen


@contextlib.contextmanager
def open_parquet(path: pathlib.Path, row_group: int | None = None) -> Iterator[pq.ParquetFile]:
    """Open a file with a small read buffer, because a row group may have a gigabyte of pictures.

    Args:
      row_group: the row group to be read, for messages.

    Raises:
      ValueError: the file is damaged or missing, or the code that uses it found an error; the
        message names the file.
    """
    try:
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except _ERRORS as error:
        where = path if row_group is None else f"{path}, row group {row_group}"
        raise ValueError(f"{where}: {str(error).splitlines()[0]}") from error


def _row(row: pa.RecordBatch, columns: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        values = row.to_pylist()[0]
    except ValueError:  # a text that is not UTF-8
        return None
    return {role: values[column] for role, column in columns.items()}


def _count_row_groups(path: pathlib.Path) -> int:
    try:
        with open_parquet(path) as file:
            return file.num_row_groups
    except ValueError:
        return 1  # reading this row group reports the error


def _first_schema(directory: pathlib.Path, files: list[str]) -> tuple[pathlib.Path, list[str]]:
    """Return the first readable file and its column names."""
    reason = ""
    for path in (directory / file for file in files):
        if path.exists():
            try:
                with open_parquet(path) as file:
                    return path, file.schema_arrow.names
            except ValueError as error:
                reason = reason or str(error)
    raise ConfigError(
        f"{directory}: expected a complete parquet file (an incomplete download, or Git LFS "
        f"pointers?), found {reason}"
    )
