"""The masks of PIPE, published apart from its pairs and in files of their own.

Source: paint-by-inpaint/PIPE_Masks on the Hub.
"""

import bisect
import functools
import os
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from jaxedit.config import ConfigError, require
from jaxedit.datasets.readers.parquet_files import ERRORS, Piece, find_files, open_parquet, picture

# An annotation's id is unique only together with the data set that it comes from.
KEY = ("target_img_dataset", "img_id", "ann_id")


class PipeMasks:
    """Masks by (data set, picture, annotation).

    The index is made when the first mask is asked for, so that what is sent to worker processes is
    small; for a million masks it takes two seconds and 30 MB. Neighbours are fast: the last row
    group stays in memory.
    """

    def __init__(self, directory: str | os.PathLike) -> None:
        """Find the files.

        Raises:
          ConfigError: there are none, one is missing or damaged, or columns are missing.
        """
        self._directory, files = find_files(directory, ("train",))
        self._pieces, self._starts, rows = [], [], 0
        for path in (self._directory / file for file in files):
            try:
                with open_parquet(path) as file:
                    missing = {*KEY, "mask"} - set(file.schema_arrow.names)
                    require(not missing, f"expected also the columns {', '.join(sorted(missing))}")
                    for group in range(file.num_row_groups):
                        self._pieces.append(Piece(path.name, group))
                        self._starts.append(rows)
                        rows += file.metadata.row_group(group).num_rows
            except ERRORS as error:
                reason = str(error).splitlines()[0]
                raise ConfigError(
                    f"{path}: {reason}: expected all masks; to do without, move {directory} away"
                ) from error
        self._last: tuple[int, pa.ChunkedArray] | None = None

    def find(self, key: tuple[str, str, str]) -> bytes | None:
        """The encoded mask of an annotation, white = the object; None if there is none.

        Raises:
          ValueError: a file is damaged; the message names it.
        """
        name, index = _name(key), self._index
        at = bisect.bisect_left(index.names, name)
        if at == len(index.names) or index.names[at] != name:
            return None
        row = int(index.rows[at])
        piece = bisect.bisect_right(self._starts, row) - 1
        if self._last is None or self._last[0] != piece:
            self._last = piece, self._table(self._pieces[piece], ["mask"])["mask"]
        return picture(self._last[1][row - self._starts[piece]].as_py())

    @functools.cached_property
    def _index(self) -> "_Index":
        names = []
        for piece in self._pieces:
            table = self._table(piece, list(KEY))
            columns = (table[name].to_pylist() for name in KEY)
            names += [_name(key) for key in zip(*columns, strict=True)]
        unsorted = np.array(names, dtype=np.bytes_)
        rows = np.argsort(unsorted, kind="stable")
        return _Index(unsorted[rows], rows)

    def _table(self, piece: Piece, columns: list[str]) -> pa.Table:
        path = self._directory / piece.file
        try:
            with open_parquet(path) as file:
                return file.read_row_group(piece.row_group, columns)
        except ERRORS as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path}, row group {piece.row_group}: {reason}") from error


class _Index(NamedTuple):
    """Every mask's name, sorted, and the row among all files at which it lies."""

    names: np.ndarray
    rows: np.ndarray


def _name(key: tuple[str, str, str]) -> bytes:
    return "/".join(map(str, key)).encode()  # ids are texts here and numbers there
