"""Tensors that are read when they are indexed: from files, cast, transposed, cut and joined.

Shape and dtype of a `LazyTensor` are known before any number is read. Each index opens the file,
reads its part and closes the file: nothing stays mapped into memory, and only the caller's arrays
are resident. Ours, since no library reads the strided tensors of PyTorch files without PyTorch, or
a part of a file on gs://.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from types import EllipsisType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from etils import epath

from jaxedit.assets import AnyPath

MAX_AXES = 32
LARGEST = 2**48  # of one axis or stride: beyond it 64-bit byte offsets could overflow
PIECE_BYTES = 1 << 26  # that are read and cast at once
SEEK_BYTES = 512  # gaps between smaller parts are read too: cheaper than one read per part
Shape = tuple[int, ...]
Index = int | np.integer | slice | EllipsisType
Box = tuple[slice, ...]  # a slice per axis, with both ends and a step of 1


@runtime_checkable
class ArrayLike(Protocol):
    """An array with a shape and a dtype that can be sliced: of numpy or JAX, or a lazy tensor."""

    shape: Shape
    dtype: Any

    def __getitem__(self, index: Any) -> Any:
        """Return the numbers in a box."""


@runtime_checkable
class BinaryFile(Protocol):
    """A file that is open for reading, local or on gs://; `seek` may return nothing."""

    def read(self, size: int = -1) -> bytes:
        """Read bytes."""

    def seek(self, offset: int, whence: int = 0) -> Any:
        """Move to a byte."""

    def tell(self) -> int:
        """Return the current byte."""


@dataclasses.dataclass(frozen=True, eq=False)
class LazyTensor:
    """An array that is not read yet: to be cut, cast, placed on devices or written to a file.

    Attributes:
      read: returns the numbers in a box that is not empty.
      dtype: of the numbers; bfloat16 and 8-bit floats are ml_dtypes' types.
      file: where the numbers lie; None if they come from several tensors.
      rows: entries of the first axis that `chunks` reads at once; None: as many as fit a piece.
    """

    read: Callable[[Box], np.ndarray]
    shape: Shape
    dtype: np.dtype
    file: AnyPath | None = None
    rows: int | None = None
    __iter__ = None  # iteration would open the file for each entry

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Return the number of scalars."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Return the size in memory, in bytes, once read."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, index: Index | tuple[Index, ...]) -> np.ndarray:
        """Read a part: integers, slices with a step of 1 and `...`, as in numpy.

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
        for rows in _pieces(whole(self.shape), self.dtype, self.rows):
            yield self[rows]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read the whole tensor, for numpy and jax."""
        return self[...] if dtype is None else self.astype(dtype)[...]

    def astype(self, dtype: Any) -> "LazyTensor":
        """Return this tensor with another dtype; reads nothing."""
        dtype = np.dtype(dtype)
        return self if dtype == self.dtype else self.map(lambda part, _: part.astype(dtype), dtype)

    def map(self, function: Callable[[np.ndarray, Box], np.ndarray], dtype: Any) -> "LazyTensor":
        """Return this tensor after an elementwise function of (numbers in a box, the box).

        The function sees pieces of at most `PIECE_BYTES`; it returns numbers of `dtype`.
        """
        read = functools.partial(_read_mapped, self, function, dtype)
        return dataclasses.replace(self, read=read, dtype=np.dtype(dtype))


def in_file(
    file: AnyPath, offset: int, dtype: np.dtype, shape: Shape, strides: Shape | None = None
) -> LazyTensor:
    """Return a tensor whose numbers lie in a file, uncompressed and little-endian.

    Args:
      offset: byte of the file at which element (0, 0, ...) begins.
      strides: elements (not bytes) from one entry of an axis to the next; None: C order.

    Raises:
      ValueError: a negative or absurd number, or too many axes.
    """
    if strides is None:
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    is_sound = all(0 <= n < LARGEST for n in (*shape, *strides)) and offset >= 0
    if not is_sound or not len(shape) == len(strides) <= MAX_AXES:
        raise ValueError(
            f"{file}: no array has shape {str(shape)[:100]}, "
            f"strides {str(strides)[:100]} and offset {str(offset)[:100]}"
        )
    steps = tuple(step * dtype.itemsize for step in strides)
    end = offset + span(shape, strides) * dtype.itemsize
    read = functools.partial(_read_file, file, offset, end, dtype, steps)
    return LazyTensor(read, shape, dtype, file)


def view(source: ArrayLike, axes: Sequence[int | None], box: Box) -> LazyTensor:
    """Return a box of an array, with its axes in another order.

    Args:
      axes: for each axis of the view, the axis of `source`; None is a new axis of length 1.
        Axes of `source` that are not named have length 1 in the box.
      box: of `source`.
    """
    lengths = lengths_of(box)
    shape = tuple(1 if axis is None else lengths[axis] for axis in axes)
    read = functools.partial(_read_view, source, axes, box)
    # Rows of a transposed array are columns of its file: all of them are read at once.
    file, rows = getattr(source, "file", None), shape[0] if shape else None
    return LazyTensor(read, shape, np.dtype(source.dtype), file, rows)


def concatenate(shape: Shape, pieces: Sequence[tuple[Box, LazyTensor]]) -> LazyTensor:
    """Return a tensor of `shape` that is joined from others, such as the layers of a stack.

    Args:
      pieces: (box of the result, tensor of the box's shape), which together fill the result.

    Returns:
      A tensor of the pieces' dtype or, where they differ, of a float dtype that holds all numbers.
    """
    dtypes = {piece.dtype for _, piece in pieces}
    widest = functools.reduce(np.promote_types, dtypes, np.dtype(np.float32))
    dtype = dtypes.pop() if len(dtypes) == 1 else widest
    read = functools.partial(_read_joined, pieces, dtype)
    rows = max((lengths_of(place)[0] for place, _ in pieces if place), default=None)
    return LazyTensor(read, shape, dtype, rows=rows)


def whole(shape: Sequence[int]) -> Box:
    """Return the box that holds all of an array."""
    return tuple(slice(0, length) for length in shape)


def lengths_of(box: Box) -> Shape:
    """Return the lengths of a box's sides."""
    return tuple(part.stop - part.start for part in box)


def within(box: Box, outer: Box) -> Box:
    """Return `box`, counted from the first corner of `outer`."""
    return tuple(
        slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True)
    )


def span(shape: Shape, strides: Shape) -> int:
    """Return the number of elements from the first to the last of a strided array."""
    steps = sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    return steps + 1 if math.prod(shape) else 0


def locate(index: Index | tuple[Index, ...], shape: Shape) -> tuple[Box, Shape]:
    """Return the box of an index into an array, and the shape of the part.

    Raises:
      IndexError: an index is out of range, of another kind, or there are too many.

    >>> locate((-1, slice(1, None)), (3, 4))  # integers drop their axis
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
        raise IndexError(f"{index}: expected slices with a step of 1")
    lengths = tuple(len(part) for part in picked if isinstance(part, range))
    spans = [part if isinstance(part, range) else range(part, part + 1) for part in picked]
    return tuple(slice(each.start, each.start + len(each)) for each in spans), lengths


def _read_mapped(tensor: LazyTensor, function: Callable, dtype: Any, box: Box) -> np.ndarray:
    """Return the function's numbers in a box, see `LazyTensor.map`."""
    if not box or len(pieces := _pieces(box, tensor.dtype)) == 1:
        return np.asarray(function(tensor.read(box), box))
    out = np.empty(lengths_of(box), dtype)
    for rows in pieces:
        piece = (rows, *box[1:])
        out[within((rows,), box[:1])] = function(tensor.read(piece), piece)
    return out


def _read_view(source: ArrayLike, axes: Sequence[int | None], outer: Box, box: Box) -> np.ndarray:
    """Return the numbers in a box of a view of the box `outer`, see `view`."""
    inside = list(outer)
    for axis, cut in zip(axes, box, strict=True):
        if axis is not None:
            start = outer[axis].start
            inside[axis] = slice(start + cut.start, start + cut.stop)
    kept = [axis for axis in axes if axis is not None]
    dropped = [axis for axis in range(len(outer)) if axis not in kept]
    block = np.asarray(source[tuple(inside)])
    return block.transpose(*kept, *dropped).reshape(lengths_of(box))


def _read_joined(pieces: Sequence[tuple[Box, LazyTensor]], dtype: np.dtype, box: Box) -> np.ndarray:
    """Return the numbers in a box of joined tensors, see `concatenate`."""
    out = np.empty(lengths_of(box), dtype)
    for place, piece in pieces:
        shared = tuple(map(_overlap, place, box))
        if all(part.start < part.stop for part in shared):
            out[within(shared, box)] = piece.read(within(shared, place))
    return out


def _read_file(
    file: AnyPath, offset: int, end: int, dtype: np.dtype, steps: Shape, box: Box
) -> np.ndarray:
    """Return the numbers in a box of an array from byte `offset` to `end`; `steps` are bytes."""
    start = offset + sum(part.start * step for part, step in zip(box, steps, strict=True))
    try:
        with epath.Path(file).open("rb") as opened:
            return _read_strided(opened, start, dtype, lengths_of(box), steps)
    except EOFError as error:
        raise ValueError(f"{file}: cut short: an array ends at byte {end}") from error


def _read_strided(
    file: BinaryFile, start: int, dtype: np.dtype, shape: Shape, steps: Shape
) -> np.ndarray:
    """Return the block whose first element lies at byte `start`; `steps` are bytes.

    The block is read from its first byte to its last, gaps included, unless the gaps are large.

    Raises:
      EOFError: the file ends before the block does.
    """
    size = sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) + dtype.itemsize
    if len(shape) > 1 and size > 1.5 * math.prod(shape) * dtype.itemsize:
        inner = sum((n - 1) * s for n, s in zip(shape[1:], steps[1:], strict=True))
        is_apart = steps[0] >= inner + dtype.itemsize  # entries of the first axis do not interleave
        if is_apart and math.prod(shape[1:]) * dtype.itemsize >= SEEK_BYTES:
            places = (start + i * steps[0] for i in range(shape[0]))
            return np.stack([_read_strided(file, p, dtype, shape[1:], steps[1:]) for p in places])
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        raise EOFError
    return np.ascontiguousarray(np.ndarray(shape, dtype, data, 0, steps)).reshape(shape)


def _pieces(box: Box, dtype: np.dtype, rows: int | None = None) -> list[slice]:
    """Cut a box's first side into pieces of some rows; None: of at most `PIECE_BYTES`."""
    first, *others = box
    row_bytes = max(1, math.prod(lengths_of(tuple(others))) * dtype.itemsize)
    rows = rows or max(1, PIECE_BYTES // row_bytes)
    starts = range(first.start, first.stop, rows)
    return [slice(start, min(start + rows, first.stop)) for start in starts]


def _overlap(a: slice, b: slice) -> slice:
    return slice(max(a.start, b.start), min(a.stop, b.stop))
