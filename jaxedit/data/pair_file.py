"""Your own pairs: a text file with one JSON object per line, and pictures beside it."""

import json
import os
import pathlib

import numpy as np
from PIL import Image

from jaxedit.config import ConfigError
from jaxedit.data import photo
from jaxedit.data.sources import Row
from jaxedit.data.toy.language import RECON_PROMPT
from jaxedit.data.transforms import crop_pair

_REQUIRED = ("source", "target", "instruction")
_OPTIONAL = ("mask",)


class PairFile:
    """Rows of a .jsonl file.

    Each line is `{"source": "a.jpg", "target": "b.jpg", "instruction": "make it snow"}`, with
    optionally `"mask": "m.png"` (white = edited). Paths are relative to the file. Masks are used if
    every line has one.
    """

    def __init__(self, path: str | os.PathLike, size: int, task: str = "edit") -> None:
        """Read and check all lines; pictures are opened when rows are asked for.

        Args:
          path: the .jsonl file.
          size: side of the square pictures in pixels.
          task: "edit", or "recon" for pairs that turn each source into itself.

        Raises:
          ConfigError: the file or a line is damaged, a picture does not exist, or there are none.
        """
        path = pathlib.Path(path)
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: expected a readable text file of pairs: {error}") from error
        self._rows = [
            _parse(line, path, number) for number, line in enumerate(lines, 1) if line.strip()
        ]
        if not self._rows:
            raise ConfigError(f"{path}: expected at least one line")
        self._directory, self._size, self._task = path.parent, size, task
        self._has_masks = all("mask" in row for row in self._rows)

    def __len__(self) -> int:
        """Number of lines."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        """Row `index`, decoded and cropped to a square.

        Raises:
          ValueError, OSError: a picture cannot be read; the message names it.
        """
        row = self._rows[index]
        names = ("source", "source") if self._task == "recon" else ("source", "target")
        source, target = (photo.read(self._directory / row[name]) for name in names)
        mask = self._mask(row, source.size) if self._has_masks else None
        source, target, mask = crop_pair(source, target, mask, self._size)
        return Row(
            source=np.asarray(source),
            target=np.asarray(target),
            instruction=RECON_PROMPT if self._task == "recon" else row["instruction"],
            mask=None if mask is None else np.asarray(mask) > 127,
            task=self._task,
            edit_type=-1,
        )

    def _mask(self, row: dict[str, str], size: tuple[int, int]) -> Image.Image:
        if self._task == "recon":
            return Image.new("L", size)  # nothing may change
        return photo.read(self._directory / row["mask"]).convert("L")


def _parse(line: str, path: pathlib.Path, number: int) -> dict[str, str]:
    where = f"{path}, line {number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where}: expected a JSON object: {error}") from error
    names = set(row) if isinstance(row, dict) else set()
    is_text = names and all(isinstance(value, str) and value for value in row.values())
    if not is_text or not set(_REQUIRED) <= names <= {*_REQUIRED, *_OPTIONAL}:
        raise ConfigError(
            f"{where}: expected texts for {', '.join(_REQUIRED)} and perhaps mask, "
            f"found {sorted(names) or line[:40]}"
        )
    for name in names - {"instruction"}:
        if not (path.parent / row[name]).is_file():
            raise ConfigError(f"{where}: {name} {row[name]!r} is not a file beside {path.name}")
    return row
