"""PIPE: a million pictures from which an object was removed by inpainting, as edits that add it.

The masks are published separately from the pairs.

Sources: paint-by-inpaint/PIPE and paint-by-inpaint/PIPE_Masks on the Hub; Wasserman et al. 2024.
"""

import bisect
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Shaped

from jaxedit.config import ConfigError, require
from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.parquet_files import (
    ParquetSet,
    Piece,
    find_files,
    open_parquet,
    picture,
)

# Columns that together name a mask: an annotation's id is unique only within its data set.
_KEY = ("target_img_dataset", "img_id", "ann_id")
_ADD = 2  # PIE-Bench's type; swapped, the same pair removes the object


class Pipe(ParquetSet):
    """PIPE's training rows: from the picture without the object to the picture with it.

    Of the three instruction columns, the first that is not empty is used: `Instruction_VLM-LLM`
    (the only column that EditAR uses), the class's, the referring instruction. The object's
    location is stored in `edit_type_raw`; PIPE's own loader adds it to a quarter of the texts.
    Pairs made from the same picture are a group.

    Masks are read from `PIPE_Masks` if it is downloaded into the directory or beside it.
    """

    name = "pipe"
    needs = {"source": "source_img", "target": "target_img", "instruction": "Instruction_VLM-LLM"}
    extras = {
        "class": "Instruction_Class",
        "referring": "Instruction_Ref_Dataset",
        "edit_type_raw": "object_location",
        **{column: column for column in _KEY},
    }

    def __init__(self, directory: str | os.PathLike) -> None:
        """Find the files, as `ParquetSet` does, and the masks."""
        super().__init__(directory)
        directory = pathlib.Path(directory).resolve()
        places = (directory / "PIPE_Masks", directory.parent / "PIPE_Masks")
        self._masks = next((PipeMasks(place) for place in places if place.is_dir()), None)

    def example(self, key: str, row: Mapping[str, Any]) -> Example | Drop:
        """Return a row as a pair, with its first instruction that is not empty, and its mask."""
        texts = [row["instruction"], row.get("class"), row.get("referring")]
        result = super().example(key, {**row, "instruction": texts})
        if isinstance(result, Drop):
            return result
        dataset, image, annotation = (row.get(column) for column in _KEY)
        return result._replace(
            edit_type=_ADD,
            group=f"{dataset}/{image}" if image else "",
            mask=self._masks.find((dataset, image, annotation)) if self._masks else None,
        )


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
                    missing = {*_KEY, "mask"} - set(file.schema_arrow.names)
                    require(not missing, f"expected also the columns {', '.join(sorted(missing))}")
                    for group in range(file.num_row_groups):
                        self._pieces.append(Piece(path.name, group))
                        self._starts.append(rows)
                        rows += file.metadata.row_group(group).num_rows
            except ValueError as error:
                raise ConfigError(
                    f"{error}: expected all masks; to convert without masks, move {directory} away"
                ) from error
        self._last: tuple[int, pa.ChunkedArray] | None = None

    def find(self, key: tuple[object, object, object]) -> bytes | None:
        """Return the encoded mask of an annotation, white = the object, or None without a mask.

        Raises:
          ValueError: a file is damaged; the message names it.
        """
        name, (names, rows) = _name(key), self._index
        at = bisect.bisect_left(names, name)
        if at == len(names) or names[at] != name:
            return None
        row = int(rows[at])
        piece = bisect.bisect_right(self._starts, row) - 1
        if self._last is None or self._last[0] != piece:
            self._last = piece, self._table(self._pieces[piece], ["mask"])["mask"]
        return picture(self._last[1][row - self._starts[piece]].as_py())

    @functools.cached_property
    def _index(self) -> tuple[Shaped[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """Return the names of all masks (bytes), sorted, and the row of each among all files."""
        names = []
        for piece in self._pieces:
            table = self._table(piece, list(_KEY))
            columns = (table[name].to_pylist() for name in _KEY)
            names += [_name(key) for key in zip(*columns, strict=True)]
        unsorted = np.array(names, dtype=np.bytes_)
        rows = np.argsort(unsorted, kind="stable")
        return unsorted[rows], rows

    def _table(self, piece: Piece, columns: list[str]) -> pa.Table:
        with open_parquet(self._directory / piece.file, piece.row_group) as file:
            return file.read_row_group(piece.row_group, columns)


def _name(key: tuple[object, object, object]) -> bytes:
    return "/".join(map(str, key)).encode()  # ids are texts in some files, numbers in others
