"""Rows from a user's own list of pairs: a .jsonl file, and pictures beside it."""

import copy

import numpy as np
from PIL import Image

from jaxedit.config import ConfigError, require
from jaxedit.data import prompts
from jaxedit.data.held_out import key_of
from jaxedit.data.pair_list import PairList
from jaxedit.data.pictures import mask_picture, photo
from jaxedit.data.sources import Row, square_row
from jaxedit.data.toybox.language import RECON_PROMPT
from jaxedit.data.transforms import CROP, Fit


class PairFile:
    """Rows of a .jsonl file.

    Each line is `{"source": "a.jpg", "target": "b.jpg", "instruction": "make it snow"}`, with an
    optional `"mask": "m.png"` (white = edited). Paths are relative to the file. Masks are used if
    every edit has a mask. Up to 1 % of bad rows are left out or replaced.

    A line may name its `"task"`, for mixtures. Lines with the tasks "add_remove" and "other" are
    edits, like lines without a task. With "depth", "canny" or "segmentation", the source is a map
    (for "canny" by default the edges of the target), and the instruction is a caption, which
    `prompts` completes to an instruction.
    """

    def __init__(
        self,
        pairs: PairList,
        size: int,
        task: str = "edit",
        *,
        style: str = "code",
        fit: Fit = CROP,
    ) -> None:
        """Choose the lines of a task; pictures are opened when rows are requested.

        Args:
          pairs: the lines of the file, which several tasks may share.
          task: the task whose lines are rows. "edit" takes all lines except maps; "recon" takes the
            sources of the edits, each as source and target.

        Raises:
          ConfigError: the task has no lines.
        """
        self._list = pairs
        edits = [row for row in pairs.rows if _task(row[1]) not in prompts.TASKS]
        has_all = task in ("edit", "recon")
        self._rows = edits if has_all else [row for row in pairs.rows if _task(row[1]) == task]
        require(bool(self._rows), f"{pairs.path}: expected at least one line for the task {task!r}")
        self._directory, self._size, self._task = pairs.path.parent, size, task
        self._style, self._fit = style, fit
        self._has_masks = all("mask" in texts for _, texts in edits)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        """Return row `index`, its pictures as squares of `size` pixels.

        A row with a damaged picture is replaced by the next good row, which is always the same.

        Raises:
          ConfigError: more than 1 % of the rows of the list are bad; the message lists them.
          IndexError: there is no such row.
        """
        if not 0 <= index < len(self._rows):
            raise IndexError(index)
        for i in range(index, index + len(self._rows)):
            number, texts = self._rows[i % len(self._rows)]
            try:
                return self._decoded(texts)
            except (ValueError, OSError) as error:
                self._list.bad.replace(number, str(error))
        raise ConfigError(f"{self._list.path}: no row can be read")

    def keys(self) -> np.ndarray:
        """See `FiniteSource`; lines with the same two pictures have the same key."""
        pictures = (sorted({texts.get("source", ""), texts["target"]}) for _, texts in self._rows)
        return np.array([key_of("\0".join(names)) for names in pictures], np.uint64)

    def select(self, rows: np.ndarray) -> "PairFile":
        """See `FiniteSource`; only selected rows replace damaged rows."""
        part = copy.copy(self)
        part._rows = [self._rows[i] for i in rows]
        return part

    def _decoded(self, row: dict[str, str]) -> Row:
        target = photo.read(self._directory / row["source" if self._task == "recon" else "target"])
        source, text = None, row["instruction"]
        if "source" in row:
            place = self._directory / row["source"]
            source = photo.read(place, is_depth=self._task == "depth")
        if self._task in prompts.TASKS:
            text = prompts.prompt(self._task, text, self._style)
        return square_row(
            source,
            target,
            self._mask(row, (source or target).size) if self._has_masks else None,
            size=self._size,
            fit=self._fit,
            instruction=RECON_PROMPT if self._task == "recon" else text,
            task=self._task,
            edit_type=-1,
        )

    def _mask(self, row: dict[str, str], size: tuple[int, int]) -> Image.Image:
        if self._task == "recon":
            return Image.new("L", size)  # nothing may change
        if self._task in prompts.TASKS:
            return Image.new("L", size, 255)
        return mask_picture.read(self._directory / row["mask"])


def _task(row: dict[str, str]) -> str:
    return row.get("task", "edit")
