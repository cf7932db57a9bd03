"""Where rows come from: anything with a length and an index."""

import dataclasses
from typing import NamedTuple, Protocol

import numpy as np

from jaxedit.data import toybox


class Row(NamedTuple):
    """One pair before batching.

    Attributes:
      source, target: u8[H,W,3].
      instruction: plain text.
      mask: bool[H,W], True where the edit may change pixels. Where that is not known: everywhere
        in rows of a store, which are many and of which some may have one; None in those of a file.
      task: what the row teaches, for example edit or recon.
      edit_type: PIE-Bench's 0 ... 9, or -1.
    """

    source: np.ndarray
    target: np.ndarray
    instruction: str
    mask: np.ndarray | None
    task: str
    edit_type: int


class RowSource(Protocol):
    """A data set with random access; `source[i]` must always give the same row, on any thread."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, index: int) -> Row:
        """Row `index`."""


class FiniteSource(RowSource, Protocol):
    """A data set on disk, of which a share can be held out."""

    def keys(self) -> np.ndarray:
        """Return u64[rows], equal for rows that show the same pair, here or in another source."""

    def select(self, rows: np.ndarray) -> "FiniteSource":
        """Return the same data set with these rows alone, i64[n], in this order."""


@dataclasses.dataclass(frozen=True)
class ToySource:
    """Toybox rows of one task, drawn when they are asked for."""

    seed: int
    level: int
    split: str = "train"
    task: str = "edit"

    def __len__(self) -> int:
        """As many rows as Grain can shuffle."""
        return 2**31 - 1

    def __getitem__(self, index: int) -> Row:
        """Row `index`, a pure function of the fields and the index."""
        pair = toybox.make(self.seed, index, self.level, split=self.split, task=self.task)
        return row_of(pair)


def row_of(pair: toybox.ToyPair) -> Row:
    """A toybox pair without the truth about its scenes."""
    return Row(pair.source, pair.target, pair.instruction, pair.mask, pair.task, pair.edit_type)
