"""Sources of training rows: objects with a length and an index."""

import dataclasses
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

from jaxedit.data import toybox


class Row(NamedTuple):
    """A pair before batching.

    Attributes: source, target: the pictures. instruction: plain text. mask: True where the edit may
      change pixels. If not known: None in rows of a list of pairs; True
        everywhere in rows of a store, whose other rows may have a mask.
      task: what the row teaches, for example edit or recon.
      edit_type: PIE-Bench's 0 ... 9, or -1.
    """

    source: UInt8[np.ndarray, "H W 3"]
    target: UInt8[np.ndarray, "H W 3"]
    instruction: str
    mask: Bool[np.ndarray, "H W"] | None
    task: str
    edit_type: int


@runtime_checkable
class RowSource(Protocol):
    """A data set with random access; `source[i]` must always return the same row, on any thread."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, index: int) -> Row:
        """Return row `index`."""


class FiniteSource(RowSource, Protocol):
    """A data set on disk, of which a share can be held out."""

    def keys(self) -> np.ndarray:
        """Return u64[rows], equal for rows that show the same pair, here or in another source."""

    def select(self, rows: np.ndarray) -> "FiniteSource":
        """Return the same data set with these rows alone, i64[n], in this order."""


@dataclasses.dataclass(frozen=True)
class ToySource:
    """Toybox rows of a task, drawn when they are requested."""

    seed: int
    level: int
    split: str = "train"
    task: str = "edit"

    def __len__(self) -> int:
        """Return the largest number of rows that Grain can shuffle."""
        return 2**31 - 1

    def __getitem__(self, index: int) -> Row:
        """Return row `index`, a pure function of the fields and the index."""
        pair = toybox.make(self.seed, index, self.level, split=self.split, task=self.task)
        return row_of(pair)


def row_of(pair: toybox.ToyPair) -> Row:
    """Return a toybox pair as a row, without the description of its scenes."""
    return Row(pair.source, pair.target, pair.instruction, pair.mask, pair.task, pair.edit_type)
