"""A parameter that is still in its file: read, checked and cast when, and as far as, it is used."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxedit.checkpoints import safetensors_file
from jaxedit.checkpoints.lazy_tensor import LazyTensor

PIECE_BYTES = 1 << 26  # of the file, read and cast at once


@dataclasses.dataclass(frozen=True)
class LazyParameter:
    """Stands for an array wherever one is only cut, cast, placed on devices or written.

    Attributes:
      stored: where it lies.
      dtype: of what is read from it.
      path: its name in errors.
    """

    stored: LazyTensor
    dtype: np.dtype
    path: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.stored.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of scalars."""
        return self.stored.size

    def astype(self, dtype: Any) -> "LazyParameter":
        """The same with another dtype; reads nothing."""
        return dataclasses.replace(self, dtype=np.dtype(dtype))

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read a part, given by integers and slices, layer by layer.

        Raises:
          ValueError: a value is not finite, or the file is cut short.
          OSError: the file cannot be read.
        """
        index = index if isinstance(index, tuple) else (index,)
        first, *rest = (slice(None),) if index in ((), (...,)) else index
        if not self.shape or not isinstance(first, slice):
            return self._read(index)
        start, stop, _ = first.indices(self.shape[0])
        part: np.ndarray | None = None
        for at in range(start, stop, self._rows):
            piece = self._read((slice(at, min(at + self._rows, stop)), *rest))
            if part is None:
                part = np.empty((max(stop - start, 0), *piece.shape[1:]), self.dtype)
            part[at - start : at - start + len(piece)] = piece
        return self._read((slice(start, start), *rest)) if part is None else part

    def chunks(self) -> Iterator[np.ndarray]:
        """All values in C order, a layer or a few rows at a time."""
        if not self.shape:
            yield self[()]
        for at in range(0, self.shape[0] if self.shape else 0, self._rows):
            yield self[at : at + self._rows]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, for numpy and jax."""
        return self[()] if dtype is None else self.astype(dtype)[()]

    @property
    def _rows(self) -> int:
        """Entries of the first axis that are read at once."""
        row = math.prod(self.shape[1:]) * self.stored.dtype.itemsize
        return max(1, PIECE_BYTES // max(row, 1))

    def _read(self, index: tuple[Any, ...]) -> np.ndarray:
        array = self.stored[index]
        safetensors_file.require_finite({self.path: array}, self.stored.file)
        return array.astype(self.dtype, copy=False)
