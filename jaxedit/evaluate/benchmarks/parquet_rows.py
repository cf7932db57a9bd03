"""The rows of a benchmark in parquet files: texts at once, each picture when it is needed."""

import dataclasses
import functools
import io
import pathlib
import threading
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from jaxedit.config import ConfigError, require
from jaxedit.datasets.readers.parquet_files import (
    Columns,
    choose_columns,
    find_files,
    open_parquet,
    picture,
    text,
)

_ONE_AT_A_TIME = threading.Lock()  # or else several threads read the same row group


@dataclasses.dataclass(frozen=True)
class Cell:
    """The picture in a row and column of a parquet file."""

    path: pathlib.Path
    row_group: int
    row: int  # in the row group
    column: str

    def __call__(self) -> bytes:
        """Return the encoded picture; labels in lists are encoded as PNG.

        Raises:
          ValueError: the file is damaged or the cell is empty; the message names the file.
        """
        with _ONE_AT_A_TIME:
            column = _column(self.path, self.row_group, self.column)
        value = column[self.row].as_py()
        if isinstance(value, list):
            return encode(Image.fromarray(np.asarray(value, np.uint8)))
        encoded = picture(value)
        if encoded is None:
            where = f"row group {self.row_group}, row {self.row}"
            raise ValueError(f"{self.path}, {where}: expected a picture in {self.column}")
        return encoded


def read_rows(
    directory: pathlib.Path, split: str, *, texts: Columns, pictures: Columns
) -> list[dict[str, Any]]:
    """Return the rows of a split of a data set as published on the Hub.

    Args:
      texts, pictures: role -> the names that its column may have.

    Returns:
      By role, the texts of each row and a `Cell` for each picture.

    Raises:
      ConfigError: files or columns are missing, or a file is damaged.
    """
    place, files = find_files(directory, (split,))
    rows: list[dict[str, Any]] = []
    for path in (place / file for file in files):
        require(path.exists(), f"{path}: no such file: expected all files of the benchmark")
        try:
            with open_parquet(path) as file:
                columns = choose_columns(file.schema_arrow.names, {**texts, **pictures}, {})
                names = [columns[role] for role in texts]
                for group in range(file.num_row_groups):
                    for i, row in enumerate(file.read_row_group(group, names).to_pylist()):
                        words = {role: _word(row[columns[role]]) for role in texts}
                        cells = {role: Cell(path, group, i, columns[role]) for role in pictures}
                        rows.append({**words, **cells})
        except ValueError as error:
            raise ConfigError(str(error)) from error
    return rows


def encode(image: Image.Image) -> bytes:
    """Return a PNG file of an image."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


# Rows are read in order, in up to three columns; a column of a row group may take a gigabyte.
@functools.lru_cache(maxsize=4)
def _column(path: pathlib.Path, row_group: int, column: str) -> pa.ChunkedArray:
    with open_parquet(path, row_group) as file:
        return file.read_row_group(row_group, [column]).column(0)


def _word(value: Any) -> str:
    return str(value) if isinstance(value, int) else text(value)
