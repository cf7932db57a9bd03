"""Safetensors files: written piece by piece, read with every fault explained.

A file is the length of its header (u64), the header (JSON: dtype, shape and place of each array)
and the arrays, one after another, all little-endian.
"""

import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from jaxedit.checkpoints import contents
from jaxedit.checkpoints.lazy_tensor import LazyTensor, contiguous

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(bool),
    "C64": np.dtype(np.complex64),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}
METADATA = "__metadata__"  # in the header
NAMES = {dtype: name for name, dtype in DTYPES.items()}
FLOATS = ("F32", "BF16", "F16")  # of parameters
MAX_HEADER = 100_000_000  # bytes, as in the reference implementation
PIECE = 1 << 23  # scalars that are cast and written at once


def write(
    path: epath.Path,
    arrays: Mapping[str, Any],
    *,
    dtypes: Mapping[str, np.dtype] | None = None,
    metadata: Mapping[str, str] | None = None,
    on_write: Callable[[int], Any] | None = None,
) -> None:
    """Write arrays one after another; never more than one of their chunks is in memory.

    Args:
      path: file to write, local or gs://.
      arrays: numpy or jax arrays, or anything with `shape`, `dtype` and `chunks()`, which gives
        numpy arrays that hold the values in C order.
      dtypes: what each array becomes on the way; None keeps its own.
      metadata: strings for the header.
      on_write: told how many bytes each piece of an array was, once it is written.

    Raises:
      ValueError: a value is not finite, once cast; names the array.
      OSError: `path` cannot be written.
    """
    kinds = {k: np.dtype(dtypes[k] if dtypes else a.dtype) for k, a in arrays.items()}
    names = sorted(arrays, key=lambda name: (-kinds[name].itemsize, name))  # keeps them aligned
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    place = 0
    for name in names:
        end = place + math.prod(arrays[name].shape) * kinds[name].itemsize
        header[name] = {
            "dtype": NAMES[kinds[name]],
            "shape": list(arrays[name].shape),
            "data_offsets": [place, end],
        }
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            for piece in _pieces(arrays[name]):
                with np.errstate(over="ignore", invalid="ignore"):  # told by name instead
                    piece = piece.astype(kinds[name], copy=False)
                require_finite({name: piece}, path)
                file.write(piece.view(np.uint8).data)
                if on_write:
                    on_write(piece.nbytes)


def read_stored(path: epath.Path) -> dict[str, LazyTensor]:
    """Every array of a file, not read yet.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is cut short, is not safetensors, or holds a type that numpy has not.
    """
    header, start, size = _read_header(path)
    header.pop(METADATA, None)
    stored, end = {}, 0
    try:
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            shape, dtype = tuple(entry["shape"]), DTYPES.get(entry["dtype"])
            if dtype is None:
                raise ValueError(f"{name} has the type {entry['dtype']!r}, which is not known here")
            first, last = entry["data_offsets"]
            whole = all(type(n) is int and n >= 0 for n in shape)
            if first != end or not whole or last - first != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"the place of {name} does not fit its shape or its neighbours")
            stored[name] = LazyTensor(path, start + first, dtype, shape, contiguous(shape))
            end = last
        if start + end > size:
            raise ValueError(
                f"cut short: expected {start + end} bytes, found {size}, as an incomplete "
                "download leaves it; fetch it again"
            )
        if start + end < size:
            raise ValueError(f"expected {start + end} bytes, found {size}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not a complete safetensors file: {error}") from error
    return stored


def read_metadata(path: epath.Path) -> dict[str, str]:
    """The strings in the header that `write` was given; reads only the header.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is damaged.
    """
    metadata = _read_header(path)[0].get(METADATA, {})
    if not isinstance(metadata, dict):
        raise ValueError(f"{path}: not a complete safetensors file: {METADATA} is no object")
    return metadata


def read_shapes(path: epath.Path) -> dict[str, tuple[int, ...]]:
    """Shape of every array of a file of parameters; reads only its header.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is damaged or holds another type than floats.
    """
    stored = read_stored(path)
    require_floats(stored, path)
    return {name: array.shape for name, array in stored.items()}


def read(path: epath.Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays `names`, in the file's dtype.

    Raises:
      ValueError: a value is not finite.
    """
    stored = read_stored(path)
    arrays = {name: stored[name][...] for name in names}
    require_finite(arrays, path)
    return arrays


def require_floats(stored: Mapping[str, LazyTensor], where: Any) -> None:
    """Raise ValueError naming the arrays that are not of one of the types `FLOATS`."""
    wrong = sorted(name for name, array in stored.items() if NAMES[array.dtype] not in FLOATS)
    if wrong:
        raise ValueError(f"{where}: expected {', '.join(FLOATS)} in {', '.join(wrong)}")


def require_finite(arrays: Mapping[str, np.ndarray], where: Any) -> None:
    """Raise ValueError naming the arrays in which some value is NaN or infinite."""
    broken = sorted(name for name, array in arrays.items() if not is_finite(array))
    if broken:
        raise ValueError(f"{where}: values that are not finite in {', '.join(broken)}")


def is_finite(array: np.ndarray) -> bool:
    """Whether no value is NaN or infinite; by the bits for 16 of them, which is 30 times faster."""
    if array.dtype.itemsize != 2 or array.size == 0:
        return bool(np.isfinite(array).all())
    infinity = np.array(np.inf, array.dtype).view(np.uint16)
    magnitudes = np.asarray(array, order="C").view(np.uint16) & np.uint16(0x7FFF)
    return bool(magnitudes.max() < infinity)


def _pieces(array: Any) -> Iterator[np.ndarray]:
    """The values in C order, as flat arrays of at most `PIECE` scalars."""
    for chunk in array.chunks() if hasattr(array, "chunks") else (array,):
        flat = np.asarray(chunk, order="C").reshape(-1)
        for start in range(0, flat.size, PIECE):
            yield flat[start : start + PIECE]


def _read_header(path: epath.Path) -> tuple[dict[str, Any], int, int]:
    """(entries by name, where the arrays begin, the file's size), bytes."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        text = file.read(length) if length <= MAX_HEADER else b""
        file.seek(0, 2)
        size = file.tell()  # not every file system's `seek` tells
    try:
        header = json.loads(text) if len(text) == length else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        is_cut = text[:1] == b"{" and len(text) < length
        reason = "cut short: fetch it again" if is_cut else contents.describe(path) or "no header"
        raise ValueError(f"{path}: not a complete safetensors file: {reason}")
    return header, 8 + length, size
