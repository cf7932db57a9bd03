"""An array that still lies in its file: shape and dtype are known, the numbers are read on demand.

Nothing is mapped into memory: an index reads its bytes and closes the file, so that the resident
memory is what the caller holds, and files on `gs://` work as local ones do.
"""

import dataclasses
import math
import pathlib
import types
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from etils import epath

MAX_AXES = 32
LARGEST = 2**48  # of one axis or stride: beyond it numpy's 64-bit byte offsets could overflow
PIECE = 1 << 24  # elements that `chunks` reads at once
WORTHWHILE = 512  # bytes: what is less is read together with what lies between
Index = int | slice | types.EllipsisType


@dataclasses.dataclass(frozen=True)
class LazyTensor:
    """An array in a file.

    Attributes:
      file: local or `gs://` path.
      offset: byte of the file at which element (0, 0, ...) begins.
      dtype: of the elements, little-endian; bfloat16 and 8-bit floats are those of ml_dtypes.
      shape: of the array.
      strides: elements (not bytes) from one entry of an axis to the next, never negative.

    Raises:
      ValueError: a negative or absurd number, or too many axes.
    """

    file: pathlib.Path | epath.Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    __iter__ = None  # entry by entry, each would open the file

    def __post_init__(self) -> None:
        """Check the numbers, which come from somebody's file."""
        sound = all(0 <= n < LARGEST for n in (*self.shape, *self.strides)) and self.offset >= 0
        if not sound or not len(self.shape) == len(self.strides) <= MAX_AXES:
            raise ValueError(
                f"{self.file}: no array has shape {str(self.shape)[:100]}, "
                f"strides {str(self.strides)[:100]} and offset {str(self.offset)[:100]}"
            )

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the elements take in memory once they are read."""
        return self.size * self.dtype.itemsize

    @property
    def end(self) -> int:
        """The byte of the file that follows the last element."""
        steps = sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        return self.offset + ((steps + 1) * self.dtype.itemsize if self.size else 0)

    def __getitem__(self, index: Index | tuple[Index, ...]) -> np.ndarray:
        """Read a part: `stored[...]` all of it, `stored[2:4]` and `stored[:, 1]` as in numpy.

        Reads from the first byte of the part to its last, in one piece, where most of that is the
        part; where it is not, as of columns, piece by piece.

        Returns:
          The part, C-contiguous; not to be written into.

        Raises:
          IndexError: an index is out of range or is none of integer, slice and `...`.
          ValueError: the file ends before the array does.
          OSError: the file cannot be read.
        """
        start, view = self._locate(index if isinstance(index, tuple) else (index,))
        if view.size == 0:
            return np.empty(view.shape, self.dtype)
        with epath.Path(self.file).open("rb") as file:
            return self._read(file, self.offset + start, view)

    def chunks(self) -> Iterator[np.ndarray]:
        """All of it in C order, `PIECE` elements or one entry of the first axis at a time."""
        if not self.shape:
            yield self[...]
            return
        rows = max(1, PIECE * self.shape[0] // max(self.size, 1))
        for start in range(0, self.shape[0], rows):
            yield self[start : start + rows]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, for `numpy.asarray`."""
        return self[...] if dtype is None else self[...].astype(dtype, copy=False)

    def _read(self, file: BinaryIO, offset: int, view: np.ndarray) -> np.ndarray:
        """The numbers of a view, the first of which lies at `offset`."""
        before, after = _reach(view)
        if view.ndim > 1 and before + after > 1.5 * view.nbytes:
            apart = abs(view.strides[0]) >= sum(_reach(view[0]))
            if apart and view[0].nbytes >= WORTHWHILE:
                step = view.strides[0]
                return np.stack(
                    [self._read(file, offset + i * step, v) for i, v in enumerate(view)]
                )
        file.seek(offset - before)
        data = file.read(before + after)
        if len(data) != before + after:
            raise ValueError(f"{self.file}: cut short: an array ends at byte {self.end}")
        part = np.ndarray(view.shape, self.dtype, data, before, view.strides)
        return np.ascontiguousarray(part).reshape(view.shape)

    def _locate(self, index: tuple[Index, ...]) -> tuple[int, np.ndarray]:
        """(first byte, view) of a part; the view has its shape and strides but no numbers."""
        for item in index:
            if isinstance(item, bool) or not isinstance(item, Index | np.integer):
                raise IndexError(f"{item!r}: expected an integer, a slice or ...")
        whole = index if ... in index else (*index, ...)  # numpy then never reads an element
        nothing = np.empty(
            (), f"V{self.dtype.itemsize}"
        )  # numpy cannot stride over each 8-bit float
        strides = [s * self.dtype.itemsize for s in self.strides]
        array = np.lib.stride_tricks.as_strided(nothing, self.shape, strides, writeable=False)
        view = array[whole]
        return view.ctypes.data - nothing.ctypes.data if view.size else 0, view


def _reach(view: np.ndarray) -> tuple[int, int]:
    """Bytes of a view before its first element (of slices that run backwards), and from it on."""
    steps = [(n - 1) * s for n, s in zip(view.shape, view.strides, strict=True)]
    return -sum(s for s in steps if s < 0), sum(s for s in steps if s > 0) + view.itemsize


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of an array in C order.

    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
