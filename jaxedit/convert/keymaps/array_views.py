"""Arrays that are read when they are indexed: transposed, cut apart and put together on the way.

A `SlicedArray` shows a box of another array with its axes in another order; a `ConcatenatedArray`
is made of such slices. Both have a shape and a dtype before any number is read, and an index reads
what it names.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

Index = int | slice | type(...)
Box = tuple[slice, ...]  # one slice an axis, with both ends and a step of one


class ArrayLike(Protocol):
    """What can be viewed: numpy and JAX arrays, arrays in files, views."""

    shape: tuple[int, ...]
    dtype: Any

    def __getitem__(self, index: Any) -> Any:
        """The numbers in a box."""


class _LazyArray(abc.ABC):
    """What both classes share: indexing by boxes, sizes, pieces in order."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @abc.abstractmethod
    def read(self, box: Box) -> np.ndarray:
        """The numbers in a box."""

    def __getitem__(self, index: Index | tuple[Index, ...]) -> np.ndarray:
        """Read a part: integers, slices with a step of one and `...`, as in numpy.

        Raises:
          IndexError: an index is out of range, of another kind, or there are too many.
        """
        box, shape = locate(index, self.shape)
        return self.read(box).reshape(shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, for `numpy.asarray`."""
        return self[...].astype(self.dtype if dtype is None else dtype, copy=False)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def chunks(self) -> Iterator[np.ndarray]:
        """All elements in C order, in pieces, of which one is in memory at a time."""
        yield np.ascontiguousarray(self[...])


@dataclasses.dataclass(frozen=True, eq=False)
class SlicedArray(_LazyArray):
    """A box of an array, with its axes in another order.

    Attributes:
      source: the array.
      axes: for each axis of the view, the axis of `source`; None is a new axis of length one.
        Axes of `source` that are not named have length one in the box.
      box: of `source`.
    """

    source: ArrayLike
    axes: tuple[int | None, ...]
    box: Box

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        lengths = lengths_of(self.box)
        return tuple(1 if axis is None else lengths[axis] for axis in self.axes)

    @property
    def dtype(self) -> np.dtype:
        """That of the source."""
        return np.dtype(self.source.dtype)

    def read(self, box: Box) -> np.ndarray:
        """The numbers in a box."""
        inside = list(self.box)
        for axis, part in zip(self.axes, box, strict=True):
            if axis is not None:
                start = self.box[axis].start
                inside[axis] = slice(start + part.start, start + part.stop)
        kept = [axis for axis in self.axes if axis is not None]
        dropped = [axis for axis in range(len(inside)) if axis not in kept]
        block = np.asarray(self.source[tuple(inside)])
        return block.transpose(*kept, *dropped).reshape(lengths_of(box))


@dataclasses.dataclass(frozen=True, eq=False)
class ConcatenatedArray(_LazyArray):
    """An array made of views: layers stacked, or maps side by side.

    Attributes:
      shape: of the whole.
      pieces: (box of the whole, view of the box's shape), which together fill the whole.
    """

    shape: tuple[int, ...]
    pieces: tuple[tuple[Box, SlicedArray], ...]

    @functools.cached_property
    def dtype(self) -> np.dtype:
        """That of the pieces; one that holds all their numbers where they differ."""
        dtypes = {view.dtype for _, view in self.pieces}
        if len(dtypes) == 1:
            return dtypes.pop()
        return functools.reduce(np.promote_types, dtypes, np.dtype(np.float32))

    def read(self, box: Box) -> np.ndarray:
        """The numbers in a box; reads only from the pieces that reach into it."""
        out = np.empty(lengths_of(box), self.dtype)
        for place, view in self.pieces:
            shared = tuple(map(_overlap, place, box))
            if all(part.start < part.stop for part in shared):
                out[_within(shared, box)] = view.read(_within(shared, place))
        return out

    def chunks(self) -> Iterator[np.ndarray]:
        """All elements in C order: layer by layer where layers are stacked."""
        rows = dict.fromkeys((part.start, part.stop) for box, _ in self.pieces for part in box[:1])
        for start, stop in rows:
            yield self[start:stop]
        if not self.shape:
            yield self[...]


def whole(shape: tuple[int, ...]) -> Box:
    """The box that holds all of an array."""
    return tuple(slice(0, length) for length in shape)


def lengths_of(box: Box) -> tuple[int, ...]:
    """Lengths of a box's sides."""
    return tuple(part.stop - part.start for part in box)


def locate(index: Index | tuple[Index, ...], shape: tuple[int, ...]) -> tuple[Box, tuple[int, ...]]:
    """What an index names in an array of a shape.

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
    if not all(isinstance(i, int | np.integer | slice) for i in full):
        raise IndexError(f"{index}: expected integers, slices and one ...")
    picked = [range(n)[item] for item, n in zip(full, shape, strict=True)]
    if any(isinstance(part, range) and part.step != 1 for part in picked):
        raise IndexError(f"{index}: expected slices with a step of one")
    lengths = tuple(len(part) for part in picked if isinstance(part, range))
    spans = [part if isinstance(part, range) else range(part, part + 1) for part in picked]
    return tuple(slice(span.start, span.start + len(span)) for span in spans), lengths


def _overlap(a: slice, b: slice) -> slice:
    return slice(max(a.start, b.start), min(a.stop, b.stop))


def _within(box: Box, outer: Box) -> Box:
    """`box`, counted from the first corner of `outer`."""
    return tuple(
        slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True)
    )
