"""Drop lists: files `drop.NAME.jsonl` in a store that list rows to skip, one file per tool.

A line is `{"row": 12, "id": "pipe/train/99", "reason": "..."}`; rows of a store count from 0.
Lists are read when the store is opened; a list that is added later does not affect a running
training.
"""

import json
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

from jaxedit.atomic_write import atomic_write
from jaxedit.config import ConfigError


class Dropped(NamedTuple):
    """A row to skip: its number, its id (to detect a list of another store) and the reason."""

    row: int
    id: str
    reason: str


def drop_list_path(directory: str | os.PathLike, name: str) -> pathlib.Path:
    """Return the path of the list of the tool `name`."""
    return pathlib.Path(directory) / f"drop.{name}.jsonl"


def paths_in(directory: str | os.PathLike) -> list[pathlib.Path]:
    """Return the paths of all lists of a store."""
    return sorted(pathlib.Path(directory).glob("drop.*.jsonl"))


def write(directory: str | os.PathLike, name: str, rows: Iterable[Dropped]) -> pathlib.Path:
    """Replace the list of the tool `name`.

    Returns:
      The path of the list.

    Raises:
      OSError: the list cannot be written.
    """
    path = drop_list_path(directory, name)
    with atomic_write(path) as part:
        part.write_text("".join(f"{json.dumps(row._asdict())}\n" for row in rows), "utf-8")
    return path


def read(path: pathlib.Path) -> list[Dropped]:
    """Read the rows of a list.

    Raises:
      ConfigError: the file is damaged.
    """
    try:
        rows = [Dropped(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: expected lines of row, id and reason: {error}") from error
    if not all(isinstance(row.row, int) and isinstance(row.id, str) for row in rows):
        raise ConfigError(f"{path}: expected lines of row, id and reason")
    return rows
