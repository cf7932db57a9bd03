"""Sources of training rows: objects with a length and an index."""

import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from PIL import Image

from jaxedit.data import toybox
from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.toybox.language import MAPS
from jaxedit.data.toybox.scene import SHAPES, Dice
from jaxedit.data.transforms import CROP, Fit, square_pair

# Share of the training rows of a toybox level with textures that show the scene in a picture that
# is not square, where pictures are padded. A crop would show the square scene, as other rows do.
NOT_SQUARE = 0.15
_SHAPE_STREAM = 2**32  # of random numbers; no task uses it


class Row(NamedTuple):
    """A pair before batching; pictures are None if only their codes are needed."""

    source: UInt8[np.ndarray, "H W 3"] | None
    target: UInt8[np.ndarray, "H W 3"] | None
    instruction: str
    # True where the edit may change pixels. Unknown masks are None in rows of a list of pairs, and
    # True everywhere in rows of a store, whose other rows may have masks.
    mask: Bool[np.ndarray, "H W"] | None
    task: str  # what the row teaches, for example edit or recon
    edit_type: int  # PIE-Bench's 0 ... 9, or -1
    codes: Int32[np.ndarray, "2 N"] | None = None  # of source and target, if a store has them


def square_row(
    source: Image.Image | None,
    target: Image.Image,
    mask: Image.Image | None,
    *,
    size: int,
    fit: Fit,
    **texts: Any,
) -> Row:
    """Return a row of pictures of any shape.

    Args:
      source: the source; None: the edges of the target.
      mask: mode L, lighter than 127 where the edit may change pixels; None if not known.
      **texts: further fields of `Row`.
    """
    square, target, mask = square_pair(source or target, target, mask, size, fit)
    pixels = np.asarray(target)
    return Row(
        source=np.asarray(square) if source else edge_map(pixels),
        target=pixels,
        mask=None if mask is None else np.asarray(mask) > 127,
        **texts,
    )


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
    fit: Fit = CROP  # how pictures that are not square become squares
    is_perfect: bool = False  # see `toybox.make`

    def __len__(self) -> int:
        """Return the largest number of rows that Grain can shuffle."""
        return 2**31 - 1

    def __getitem__(self, index: int) -> Row:
        """Return row `index`, a pure function of the fields and the index."""
        pair = toybox.make(
            self.seed,
            index,
            self.level,
            split=self.split,
            task=self.task,
            shape=self._shape_of(index),
            is_perfect=self.is_perfect,
        )
        height, width = pair.target.shape[:2]
        if height == width:
            return row_of(pair)
        return square_row(
            Image.fromarray(pair.source),
            Image.fromarray(pair.target),
            Image.fromarray(pair.mask.astype(np.uint8) * 255),
            size=toybox.LEVELS[self.level].image_size,
            fit=self.fit,
            instruction=pair.instruction,
            task=pair.task,
            edit_type=pair.edit_type,
        )

    def _shape_of(self, index: int) -> str:
        """Draw the shape of a row's picture."""
        is_mixed = self.split == "train" and self.task not in MAPS and self.fit.kind == "pad"
        if not is_mixed or not toybox.LEVELS[self.level].is_textured:
            return "square"
        dice = Dice((self.seed % 2**64, _SHAPE_STREAM), (index, self.level))
        return dice.pick(tuple(SHAPES)[1:]) if dice.uniform() < NOT_SQUARE else "square"


def row_of(pair: toybox.ToyPair) -> Row:
    """Return a toybox pair as a row, without the description of its scenes."""
    return Row(pair.source, pair.target, pair.instruction, pair.mask, pair.task, pair.edit_type)
