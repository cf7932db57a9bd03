"""ImgEdit, 1.2 million single-turn edits: parquet files of paths, pictures in split archives.

Source: sysuyy/ImgEdit on the Hub (arXiv 2505.20275).
"""

import os
import pathlib
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from jaxedit.config import require
from jaxedit.datasets.readers.example import Drop, Example
from jaxedit.datasets.readers.parquet_files import open_parquet
from jaxedit.datasets.readers.picture_archive import Pictures, pair
from jaxedit.datasets.readers.split_archive import Archive, archives_in

_ROWS = 500  # rows per part
_COLUMNS = ["input_images", "output_images", "prompt"]
_STEM = re.compile(r"(?P<task>.+?)(_(?P<part>part\d+))?")
# ImgEdit's task -> PIE-Bench's type; the other tasks contain several types.
_TYPES = {"replace": 1, "add": 2, "remove": 3, "action": 5, "background": 8, "style_transfer": 9}


class Rows(NamedTuple):
    """Consecutive rows of a parquet file; none for a damaged file."""

    stem: str  # the file's name without .parquet
    first: int  # number of the first row, from 0
    count: int  # number of rows
    pictures: str  # version of the archive; empty if the archive is missing


class ImgEdit:
    """The single-turn edits with a single input and a single output.

    Conversations are not split into pairs, because later turns refer to earlier turns. The set has
    terabytes; some of its files may be missing.
    """

    name = "imgedit"
    keeps_labels = False

    def __init__(
        self, directory: str | os.PathLike, scratch: str | os.PathLike | None = None
    ) -> None:
        """Check the layout.

        Args:
          scratch: for the archives' indices; default: `unpacked` in the directory.

        Raises:
          ConfigError: a folder or a piece of an archive is missing, or there are no parquet files.
        """
        directory = pathlib.Path(directory)
        layout = "expected Parquet/*.parquet and Singleturn/*.tar.split.* of sysuyy/ImgEdit"
        self._parquet, singleturn = directory / "Parquet", directory / "Singleturn"
        for folder in (self._parquet, singleturn):
            require(folder.is_dir(), f"{folder}: no such folder: {layout}")
        stems = sorted(path.stem for path in self._parquet.glob("*.parquet"))
        require(bool(stems), f"{self._parquet}: no parquet files: {layout}")
        require(any(singleturn.iterdir()), f"{singleturn}: no archives: {layout}")
        archives = archives_in(singleturn, pathlib.Path(scratch or directory / "unpacked"))
        self._subsets = {stem: _subset(stem, singleturn, archives) for stem in stems}

    def parts(self) -> list[Rows]:
        """Return parts of a few hundred rows. The first call indexes the archives."""
        parts = []
        for stem, subset in self._subsets.items():
            subset.prepare()
            parts += _cut(self._parquet, stem, subset.version())
        return parts

    def read(self, part: Rows) -> Iterator[Example | Drop]:
        """Yield the pairs of a part.

        Raises:
          ValueError: the parquet file is damaged or has other columns; the message names it.
        """
        table = _table(self._parquet / f"{part.stem}.parquet")
        for number in range(part.first, part.first + part.count):
            key = f"{part.stem}/{number}"
            if table is None:
                yield Drop(key, "several turns")
                continue
            try:
                (row,) = table.slice(number, 1).to_pylist()
            except ValueError:  # a text that is not UTF-8
                yield Drop(key, "unreadable row")
            else:
                yield self._pair(key, part.stem, row)

    def _pair(self, key: str, stem: str, row: Mapping[str, Any]) -> Example | Drop:
        inputs, outputs = row["input_images"] or [], row["output_images"] or []
        if len(inputs) > 1 or len(outputs) > 1:
            return Drop(key, "several inputs" if len(inputs) > 1 else "several outputs")
        source = next(iter(inputs), None)
        return pair(
            key,
            self._subsets[stem],
            source,
            next(iter(outputs), None),
            row["prompt"],
            # The folder is named after the photo, which has edits in other files too.
            group=posixpath.basename(posixpath.dirname(source or "")),
            edit_type=_TYPES.get(_STEM.fullmatch(stem)["task"], -1),
            edit_type_raw=stem,
        )


class _Subset(Pictures):
    """The pictures of a parquet file.

    The first component of a path may differ from the folder in the archive, and both from the
    archive's name; a path may also be only a file name.
    """

    def __init__(
        self, singleturn: pathlib.Path, folders: Sequence[pathlib.Path], archives: Sequence[Archive]
    ) -> None:
        super().__init__(folders, archives)
        self._unpacked = Pictures([singleturn], [])

    def read(self, path: str) -> bytes | None:
        content = self._unpacked.read(path)
        if content is None:
            content = super().read(path)
        tail = path.partition("/")[2]
        return super().read(tail) if content is None and tail else content

    def why_absent(self, role: str) -> str:
        is_here = self._archives or any(folder.is_dir() for folder in self._folders)
        return super().why_absent(role) if is_here else f"{role} not found, nor its archive"


def _subset(stem: str, singleturn: pathlib.Path, archives: Mapping[str, Archive]) -> _Subset:
    names = archive_names(stem)
    match = _STEM.fullmatch(stem)
    # Folders in archives whose names are neither the archive's nor in the paths.
    inside = [match["part"]] if match["task"] == "action" else []
    inside += ["results"] if stem == "replace_part0" else []
    folders = [singleturn / name for name in (*names, *inside)]
    return _Subset(singleturn, folders, [archives[name] for name in names if name in archives])


def archive_names(stem: str) -> list[str]:
    """Return the names that the archive of a parquet file may have, without ".tar".

    Args:
      stem: name of the parquet file without its ending, for example "add_part0".
    """
    match = _STEM.fullmatch(stem)
    task, part = match["task"], match["part"] or ""
    if task in ("reference_extract", "reference_replace"):
        task = "extract_and_visualedit"
    if task == "compose":  # an older name of the hybrid edits
        task = "hybrid"
    plain = f"{task}_{part}".rstrip("_")
    return [plain, f"results_{plain}", f"results_{task}_laion_{part}".rstrip("_")]


def _table(path: pathlib.Path) -> pa.Table | None:
    """Return paths and instructions of a parquet file, or None if it contains conversations."""
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        if "data" in names:
            return None
        require(set(_COLUMNS) <= set(names), f"expected columns {', '.join(_COLUMNS)}")
        return file.read(_COLUMNS)


def _cut(folder: pathlib.Path, stem: str, version: str) -> list[Rows]:
    try:
        with open_parquet(folder / f"{stem}.parquet") as file:
            count = file.metadata.num_rows
    except ValueError:
        return [Rows(stem, 0, 0, version)]  # reading this part reports the error
    return [
        Rows(stem, first, min(_ROWS, count - first), version) for first in range(0, count, _ROWS)
    ]
