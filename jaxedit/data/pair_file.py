"""Your own pairs: a text file with one JSON object per line, and pictures beside it."""

import json
import os
import pathlib

import numpy as np
from PIL import Image

from jaxedit.config import ConfigError, require
from jaxedit.data import mask_picture, photo, prompts
from jaxedit.data.canny import edge_map
from jaxedit.data.sources import Row
from jaxedit.data.toy.language import RECON_PROMPT
from jaxedit.data.transforms import CROP, Fit, square_pair

_REQUIRED = ("source", "target", "instruction")
_OPTIONAL = ("mask", "task")
_LABELS = ("edit", "add_remove", "other", *prompts.TASKS)  # of a line


class PairFile:
    """Rows of a .jsonl file.

    Each line is `{"source": "a.jpg", "target": "b.jpg", "instruction": "make it snow"}`, with
    optionally `"mask": "m.png"` (white = edited). Paths are relative to the file. Masks are used if
    every edit has one.

    A line may name its `"task"`, for mixtures: "add_remove" and "other" are edits like those
    without a name. With "depth", "canny" or "segmentation" the source is a map, for "canny" by
    default the target's edges, and the instruction is a caption, which `prompts` frames.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        size: int,
        task: str = "edit",
        *,
        style: str = "code",
        fit: Fit = CROP,
    ) -> None:
        """Read and check all lines; pictures are opened when rows are asked for.

        Args:
          path: the .jsonl file.
          size: side of the square pictures in pixels.
          task: whose lines are rows. "edit" is all but those of maps; "recon" turns each of their
            sources into itself.
          style: wording of the maps' prompts.
          fit: how pictures become squares.

        Raises:
          ConfigError: the file or a line is damaged, a picture does not exist, or the task has no
            lines.
        """
        path = pathlib.Path(path)
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: expected a readable text file of pairs: {error}") from error
        rows = [_parse(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]
        edits = [row for row in rows if _task(row) not in prompts.TASKS]
        has_all = task in ("edit", "recon")
        self._rows = edits if has_all else [row for row in rows if _task(row) == task]
        require(bool(self._rows), f"{path}: expected at least one line for the task {task!r}")
        self._directory, self._size, self._task = path.parent, size, task
        self._style, self._fit = style, fit
        self._has_masks = all("mask" in row for row in edits)

    def __len__(self) -> int:
        """Number of lines."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        """Row `index`, decoded and made a square.

        Raises:
          ValueError, OSError: a picture cannot be read; the message names it.
        """
        row = self._rows[index]
        target = photo.read(self._directory / row["source" if self._task == "recon" else "target"])
        source = target
        if "source" in row:
            place = self._directory / row["source"]
            source = photo.read(place, is_depth=self._task == "depth")
        mask = self._mask(row, source.size) if self._has_masks else None
        source, target, mask = square_pair(source, target, mask, self._size, self._fit)
        pixels = np.asarray(target)
        return Row(
            source=np.asarray(source) if "source" in row else edge_map(pixels),
            target=pixels,
            instruction=self._instruction(row["instruction"]),
            mask=None if mask is None else np.asarray(mask) > 127,
            task=self._task,
            edit_type=-1,
        )

    def _instruction(self, text: str) -> str:
        if self._task in prompts.TASKS:
            return prompts.prompt(self._task, text, self._style)
        return RECON_PROMPT if self._task == "recon" else text

    def _mask(self, row: dict[str, str], size: tuple[int, int]) -> Image.Image:
        if self._task == "recon":
            return Image.new("L", size)  # nothing may change
        if self._task in prompts.TASKS:
            return Image.new("L", size, 255)
        return mask_picture.read(self._directory / row["mask"])


def _task(row: dict[str, str]) -> str:
    return row.get("task", "edit")


def _parse(line: str, path: pathlib.Path, number: int) -> dict[str, str]:
    where = f"{path}, line {number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where}: expected a JSON object: {error}") from error
    names = set(row) if isinstance(row, dict) else set()
    is_text = names and all(isinstance(value, str) and value for value in row.values())
    needed = set(_REQUIRED) - ({"source"} if is_text and _task(row) == "canny" else set())
    if not is_text or not needed <= names <= {*_REQUIRED, *_OPTIONAL}:
        raise ConfigError(
            f"{where}: expected texts for {', '.join(_REQUIRED)} and perhaps mask and task, "
            f"found {sorted(names) or line[:40]}"
        )
    known = _task(row) in _LABELS
    require(known, f"{where}: task {_task(row)!r}: expected one of {', '.join(_LABELS)}")
    for name in names - {"instruction", "task"}:
        if not (path.parent / row[name]).is_file():
            raise ConfigError(f"{where}: {name} {row[name]!r} is not a file beside {path.name}")
    return row
