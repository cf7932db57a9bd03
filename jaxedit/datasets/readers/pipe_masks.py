"""The masks of PIPE, which are published separately from its pairs.

Source: paint-by-inpaint/PIPE_Masks on the Hub.
"""

import bisect
import functools
import os
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Shaped

from jaxedit.config import ConfigError, require
from jaxedit.datasets.readers.parquet_files import ERRORS, Piece, find_files, open_parquet, picture

# An annotation's id is unique only within the data set that it comes from.
KEY = ("target_img_dataset", "img_id", "ann_id")


class PipeMasks:
    """Masks by (data set, picture, annotation).

    The index is made when the first mask is requested, so that instances are small when sent to
    worker processes; for a million masks this takes two seconds and 30 MB. The last row group stays
    in memory, so that neighbouring masks are read fast.
    """

    def __init__(self, directory: str | os.PathLike) -> None:
        """Find the files.

        Raises:
          ConfigError: there are no files, a file is missing or damaged, or columns are missing.
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
                    f"{path}: {reason}: expected all masks; to convert without masks, move "
                    f"{directory} away"
                ) from error
        self._last: tuple[int, pa.ChunkedArray] | None = None

    def find(self, key: tuple[object, object, object]) -> bytes | None:
        """Return the encoded mask of an annotation, white = the object, or None without a mask.

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
    """The names of all masks (bytes), sorted, and the row number of each among all files."""

    names: Shaped[np.ndarray, " N"]
    rows: Int[np.ndarray, " N"]


def _name(key: tuple[object, object, object]) -> bytes:
    return "/".join(map(str, key)).encode()  # ids are texts in some files, numbers in others
