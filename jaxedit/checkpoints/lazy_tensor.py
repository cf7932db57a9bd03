"""Tensors that are read when they are indexed: from files, cast, transposed, cut and put together.

Shape and dtype of a `LazyTensor` are known before any number is read. Nothing stays mapped into
memory: an index reads its part and closes the file, so that the resident memory is what the caller
holds. Ours, since no library reads the strided tensors of PyTorch files without PyTorch, or a part
of a file on gs://.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Protocol

import numpy as np
from etils import epath

MAX_AXES = 32
LARGEST = 2**48  # of one axis or stride: beyond it 64-bit byte offsets could overflow
PIECE_BYTES = 1 << 26  # that are read and cast at once
WORTHWHILE = 512  # bytes: what is less is read together with what lies between
Index = int | slice | type(...)
Box = tuple[slice, ...]  # one slice an axis, with both ends and a step of one


class ArrayLike(Protocol):
    """An array with a shape and a dtype that can be sliced: of numpy or JAX, or a lazy tensor."""

    shape: tuple[int, ...]
    dtype: Any

    def __getitem__(self, index: Any) -> Any:
        """Return the numbers in a box."""


@dataclasses.dataclass(frozen=True, eq=False)
class LazyTensor:
    """Stands for an array wherever one is only cut, cast, placed on devices or written.

    Attributes:
      read: from a box that is not empty to its numbers.
      shape: lengths of the axes.
      dtype: of what is read; bfloat16 and 8-bit floats are those of ml_dtypes.
      file: where the numbers lie, local or gs://.
      rows: entries of the first axis that `chunks` reads at once; None: as many as fit a piece.
    """

    read: Callable[[Box], np.ndarray]
    shape: tuple[int, ...]
    dtype: np.dtype
    file: pathlib.Path | epath.Path | None = None
    rows: int | None = None
    __iter__ = None  # entry by entry, each would open the file

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of scalars."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the numbers take in memory once they are read."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, index: Index | tuple[Index, ...]) -> np.ndarray:
        """Read a part: integers, slices with a step of one and `...`, as in numpy.

        Returns:
          The part, C-contiguous; not to be written into.

        Raises:
          IndexError: an index is out of range, of another kind, or there are too many.
          ValueError: the file ends before the array does, or the numbers are refused.
          OSError: the file cannot be read.
        """
        box, shape = locate(index, self.shape)
        if 0 in lengths_of(box):
            return np.empty(shape, self.dtype)
        return np.ascontiguousarray(self.read(box)).reshape(shape)

    def chunks(self) -> Iterator[np.ndarray]:
        """Read all numbers in C order, a part of the first axis at a time."""
        if not self.shape:
            yield self[()]
            return
        rows = self.rows or _rows_of_piece(self.shape, self.dtype)
        for start in range(0, self.shape[0], rows):
            yield self[start : start + rows]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of it, for numpy and jax."""
        return self[...] if dtype is None else self.astype(dtype)[...]

    def astype(self, dtype: Any) -> "LazyTensor":
        """Return the same with another dtype; reads nothing."""
        dtype = np.dtype(dtype)
        return self if dtype == self.dtype else self.map(lambda part, _: part.astype(dtype), dtype)

    def map(
        self, function: Callable[[np.ndarray, Box], np.ndarray], dtype: np.dtype
    ) -> "LazyTensor":
        """Return this tensor after an elementwise function, which sees one piece at a time.

        Args:
          function: from the numbers in a box, and the box, to as many numbers.
          dtype: of the function's numbers.
        """

        def read(box: Box) -> np.ndarray:
            if not box or len(pieces := _pieces(box, self.dtype)) == 1:
                return function(self.read(box), box)
            out = np.empty(lengths_of(box), dtype)
            for rows in pieces:
                piece = (rows, *box[1:])
                out[within((rows,), box[:1])] = function(self.read(piece), piece)
            return out

        return dataclasses.replace(self, read=read, dtype=np.dtype(dtype))


def in_file(
    file: pathlib.Path | epath.Path,
    offset: int,
    dtype: np.dtype,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> LazyTensor:
    """Return a tensor whose numbers lie in a file, uncompressed and little-endian.

    A part is read from its first byte to its last, in one piece, where most of that is the part;
    where it is not, as of columns, piece by piece.

    Args:
      file: local or gs://.
      offset: byte of the file at which element (0, 0, ...) begins.
      dtype: of the elements.
      shape: of the tensor.
      strides: elements (not bytes) from one entry of an axis to the next, never negative.

    Raises:
      ValueError: a negative or absurd number, or too many axes.
    """
    sound = all(0 <= n < LARGEST for n in (*shape, *strides)) and offset >= 0
    if not sound or not len(shape) == len(strides) <= MAX_AXES:
        raise ValueError(
            f"{file}: no array has shape {str(shape)[:100]}, "
            f"strides {str(strides)[:100]} and offset {str(offset)[:100]}"
        )
    steps = tuple(step * dtype.itemsize for step in strides)
    end = offset + span(shape, strides) * dtype.itemsize

    def read(box: Box) -> np.ndarray:
        start = offset + sum(part.start * step for part, step in zip(box, steps, strict=True))
        try:
            with epath.Path(file).open("rb") as opened:
                return _read_strided(opened, start, dtype, lengths_of(box), steps)
        except EOFError as error:
            raise ValueError(f"{file}: cut short: an array ends at byte {end}") from error

    return LazyTensor(read, shape, dtype, file)


def view(source: ArrayLike, axes: Sequence[int | None], box: Box) -> LazyTensor:
    """Return a box of an array, with its axes in another order.

    Args:
      source: the array.
      axes: for each axis of the view, the axis of `source`; None is a new axis of length one.
        Axes of `source` that are not named have length one in the box.
      box: of `source`.
    """
    lengths = lengths_of(box)
    shape = tuple(1 if axis is None else lengths[axis] for axis in axes)
    kept = [axis for axis in axes if axis is not None]
    dropped = [axis for axis in range(len(box)) if axis not in kept]

    def read(part: Box) -> np.ndarray:
        inside = list(box)
        for axis, cut in zip(axes, part, strict=True):
            if axis is not None:
                start = box[axis].start
                inside[axis] = slice(start + cut.start, start + cut.stop)
        block = np.asarray(source[tuple(inside)])
        return block.transpose(*kept, *dropped).reshape(lengths_of(part))

    # Rows of a transposed array are columns of its file: all of them are read at once.
    file, rows = getattr(source, "file", None), shape[0] if shape else None
    return LazyTensor(read, shape, np.dtype(source.dtype), file, rows)


def concatenate(shape: tuple[int, ...], pieces: Sequence[tuple[Box, LazyTensor]]) -> LazyTensor:
    """Return a tensor made of others: layers stacked, or maps side by side.

    Its dtype is that of the pieces; one that holds all their numbers where they differ.

    Args:
      shape: of the whole.
      pieces: (box of the whole, tensor of the box's shape), which together fill the whole.
    """
    dtypes = {piece.dtype for _, piece in pieces}
    widest = functools.reduce(np.promote_types, dtypes, np.dtype(np.float32))
    dtype = dtypes.pop() if len(dtypes) == 1 else widest

    def read(box: Box) -> np.ndarray:
        out = np.empty(lengths_of(box), dtype)
        for place, piece in pieces:
            shared = tuple(map(_overlap, place, box))
            if all(part.start < part.stop for part in shared):
                out[within(shared, box)] = piece.read(within(shared, place))
        return out

    rows = max((lengths_of(place)[0] for place, _ in pieces if place), default=None)
    return LazyTensor(read, tuple(shape), dtype, rows=rows)


def whole(shape: Sequence[int]) -> Box:
    """Return the box that holds all of an array."""
    return tuple(slice(0, length) for length in shape)


def lengths_of(box: Box) -> tuple[int, ...]:
    """Return the lengths of a box's sides."""
    return tuple(part.stop - part.start for part in box)


def within(box: Box, outer: Box) -> Box:
    """Return `box`, counted from the first corner of `outer`."""
    return tuple(
        slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True)
    )


def span(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Return how many elements lie from the first to the last of a strided array."""
    steps = sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    return steps + 1 if math.prod(shape) else 0


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, in elements, of an array in C order.

    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def locate(index: Index | tuple[Index, ...], shape: tuple[int, ...]) -> tuple[Box, tuple[int, ...]]:
    """Return what an index names in an array of a shape.

    Returns:
      Its box, and the shape of the part: integers drop their axis.

    Raises:
      IndexError: an index is out of range, of another kind, or there are too many.

    >>> locate((-1, slice(1, None)), (3, 4))
    ((slice(2, 3, None), slice(1, 4, None)), (3,))
    """
    index = index if isinstance(index, tuple) else (index,)
    at = next((n for n, item in enumerate(index) if item is ...), len(index))
    others = [slice(None)] * (len(shape) - len(index) + (at < len(index)))
    full = (*index[:at], *others, *index[at + 1 :])
    if len(full) != len(shape):
        raise IndexError(f"{index}: too many for shape {shape}")
    if any(isinstance(i, bool) or not isinstance(i, int | np.integer | slice) for i in full):
        raise IndexError(f"{index}: expected integers, slices and one ...")
    picked = [range(n)[item] for item, n in zip(full, shape, strict=True)]
    if any(isinstance(part, range) and part.step != 1 for part in picked):
        raise IndexError(f"{index}: expected slices with a step of one")
    lengths = tuple(len(part) for part in picked if isinstance(part, range))
    spans = [part if isinstance(part, range) else range(part, part + 1) for part in picked]
    return tuple(slice(each.start, each.start + len(each)) for each in spans), lengths


def _read_strided(
    file: BinaryIO,
    start: int,
    dtype: np.dtype,
    shape: tuple[int, ...],
    steps: tuple[int, ...],
) -> np.ndarray:
    """Return a block, the first element of which lies at byte `start`; `steps` are bytes.

    Raises:
      EOFError: the file ends before.
    """
    size = sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) + dtype.itemsize
    if len(shape) > 1 and size > 1.5 * math.prod(shape) * dtype.itemsize:
        inner = sum((n - 1) * s for n, s in zip(shape[1:], steps[1:], strict=True))
        is_apart = steps[0] >= inner + dtype.itemsize
        if is_apart and math.prod(shape[1:]) * dtype.itemsize >= WORTHWHILE:
            places = (start + i * steps[0] for i in range(shape[0]))
            return np.stack([_read_strided(file, p, dtype, shape[1:], steps[1:]) for p in places])
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        raise EOFError
    return np.ascontiguousarray(np.ndarray(shape, dtype, data, 0, steps)).reshape(shape)


def _rows_of_piece(shape: Sequence[int], dtype: np.dtype) -> int:
    """Return how many entries of the first axis fit a piece."""
    return max(1, PIECE_BYTES // max(1, math.prod(shape[1:]) * dtype.itemsize))


def _pieces(box: Box, dtype: np.dtype) -> list[slice]:
    """Return a box's first side, cut into pieces."""
    first, rows = box[0], _rows_of_piece(lengths_of(box), dtype)
    starts = range(first.start, first.stop, rows)
    return [slice(start, min(start + rows, first.stop)) for start in starts]


def _overlap(a: slice, b: slice) -> slice:
    return slice(max(a.start, b.start), min(a.stop, b.stop))
