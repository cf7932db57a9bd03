"""Safetensors files: read by the library of that name, slice by slice, and written piece by piece.

A file is the length of its header (u64), the header (JSON: dtype, shape and place of each array)
and the arrays, one after another, all little-endian. Three things are ours, since the library lacks
them: it writes only arrays that are in memory, it has no 8-bit floats in numpy, and it reads no
files on gs://.
"""

import contextlib
import functools
import json
import math
import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from jaxedit.assets import AnyPath
from jaxedit.checkpoints import contents
from jaxedit.checkpoints.lazy_tensor import Box, LazyTensor, Shape, in_file

DTYPES = {
    **{f"F{bits}": np.dtype(f"float{bits}") for bits in (64, 32, 16)},
    **{f"I{bits}": np.dtype(f"int{bits}") for bits in (64, 32, 16, 8)},
    **{f"U{bits}": np.dtype(f"uint{bits}") for bits in (64, 32, 16, 8)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BOOL": np.dtype(bool),
    "C64": np.dtype(np.complex64),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
FLOATS = ("F32", "BF16", "F16")  # of parameters
UNREAD = {dtype for name, dtype in DTYPES.items() if name.startswith("F8_")}  # by the library
MAX_HEADER = 100_000_000  # bytes, as in the library
PIECE = 1 << 23  # scalars that are cast and written at once


def write(
    path: AnyPath,
    arrays: Mapping[str, Any],
    *,
    dtypes: Mapping[str, np.dtype] | None = None,
    metadata: Mapping[str, str] | None = None,
    on_write: Callable[[int], Any] | None = None,
) -> None:
    """Write arrays one after another; at most one of their chunks is in memory.

    Args:
      arrays: of numpy or jax, or anything with `shape`, `dtype` and `chunks()`, which yields numpy
        arrays that hold the values in C order.
      dtypes: of the arrays in the file; None keeps their own.
      metadata: strings for the header.
      on_write: takes the number of bytes of each piece, once written.

    Raises:
      ValueError: a value is not finite, once cast; names the array.
      OSError: `path` cannot be written.
    """
    kinds = {k: np.dtype(dtypes[k] if dtypes else a.dtype) for k, a in arrays.items()}
    # The widest dtypes come first, so that each array is aligned.
    names = sorted(arrays, key=lambda name: (-kinds[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    place = 0
    for name in names:
        end = place + nbytes(arrays[name].shape, kinds[name])
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
                with np.errstate(over="ignore", invalid="ignore"):  # raised below, with the name
                    piece = piece.astype(kinds[name], copy=False)
                require_finite({name: piece}, path)
                file.write(piece.view(np.uint8).data)
                if on_write:
                    on_write(piece.nbytes)


def nbytes(shape: Shape, dtype: np.dtype) -> int:
    """Return the size of an array in a file, in bytes."""
    return math.prod(shape) * dtype.itemsize


def read_stored(path: AnyPath) -> dict[str, LazyTensor]:
    """Return the arrays of a file by name, not read yet.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is cut short, is not safetensors, or holds a type that numpy lacks.
    """
    stored = {}
    with _opened(path) as (file, place):
        for name in file.offset_keys():
            header = file.get_slice(name)
            shape, kind = tuple(header.get_shape()), header.get_dtype()
            if kind not in DTYPES:
                raise ValueError(f"{path}: {name} has the type {kind!r}, which numpy lacks")
            dtype = DTYPES[kind]
            if _is_local(path) and dtype not in UNREAD:
                read = functools.partial(_read_slice, path, name)
                stored[name] = LazyTensor(read, shape, dtype, path)
            else:
                stored[name] = in_file(path, place, dtype, shape)
            place += stored[name].nbytes
    return stored


def read_metadata(path: AnyPath) -> dict[str, str]:
    """Return the strings that `write` put into the header; reads nothing else.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is damaged.
    """
    with _opened(path) as (file, _):
        return file.metadata() or {}


def read_parameters(path: AnyPath) -> dict[str, np.ndarray]:
    """Read all arrays of a file of parameters, in the file's dtypes.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is damaged, holds a dtype that is not in `FLOATS`, or a value is not
        finite.
    """
    stored = read_stored(path)
    require_floats(stored, path)
    arrays = {name: tensor[...] for name, tensor in stored.items()}
    require_finite(arrays, path)
    return arrays


def require_floats(stored: Mapping[str, LazyTensor], where: Any) -> None:
    """Raise ValueError naming the arrays whose dtype is not in `FLOATS`."""
    wrong = sorted(name for name, array in stored.items() if NAMES[array.dtype] not in FLOATS)
    if wrong:
        raise ValueError(f"{where}: expected {', '.join(FLOATS)} in {', '.join(wrong)}")


def require_finite(arrays: Mapping[str, np.ndarray], where: Any) -> None:
    """Raise ValueError naming the arrays with a value that is NaN or infinite."""
    broken = sorted(name for name, array in arrays.items() if not is_finite(array))
    if broken:
        raise ValueError(f"{where}: values that are not finite in {', '.join(broken)}")


def check_finite(tensor: LazyTensor, name: str) -> LazyTensor:
    """Return the tensor; reading a part raises ValueError if a value in it is not finite."""
    return tensor.map(functools.partial(_checked, name, tensor.file), tensor.dtype)


def _checked(name: str, file: Any, part: np.ndarray, box: Box) -> np.ndarray:
    """Return a part of a tensor; ValueError if a value in it is not finite."""
    require_finite({name: part}, file)
    return part


def is_finite(array: np.ndarray) -> bool:
    """Return whether no value is NaN or infinite; 16-bit floats by their bits: 30 times faster."""
    if array.dtype.itemsize != 2 or array.dtype.kind in "iu" or array.size == 0:
        return bool(np.isfinite(array).all())
    infinity = np.array(np.inf, array.dtype).view(np.uint16)
    magnitudes = np.asarray(array, order="C").view(np.uint16) & np.uint16(0x7FFF)
    return bool(magnitudes.max() < infinity)


def _pieces(array: Any) -> Iterator[np.ndarray]:
    """Yield the values in C order, as flat arrays of at most `PIECE` scalars."""
    for chunk in array.chunks() if hasattr(array, "chunks") else (array,):
        flat = np.asarray(chunk, order="C").reshape(-1)
        for start in range(0, flat.size, PIECE):
            yield flat[start : start + PIECE]


def _is_local(path: AnyPath) -> bool:
    return "://" not in os.fspath(path)


def _read_slice(path: AnyPath, name: str, box: Box) -> np.ndarray:
    """Read the numbers in a box; the file is mapped into memory only meanwhile."""
    with _opened(path) as (file, _):
        return file.get_slice(name)[box]


@contextlib.contextmanager
def _opened(path: AnyPath) -> Iterator[tuple[Any, int]]:
    """Yield the library's view of a file, and the byte at which the arrays begin.

    The library reads only local files. For a file elsewhere it gets a local copy of the header,
    followed by a hole as long as the arrays, so that it checks the whole header.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is damaged, also after the file was opened; one line.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file, contextlib.ExitStack() as stack:
        length = file.read(8)
        begin = 8 + int.from_bytes(length, "little")
        local = os.fspath(path)
        if not _is_local(path):
            copy = stack.enter_context(tempfile.NamedTemporaryFile())
            copy.write(length + file.read(min(begin - 8, MAX_HEADER)))
            file.seek(0, 2)
            copy.truncate(file.tell())  # on gs:// `seek` may return nothing
            local = copy.name
        try:
            with safe_open(local, "numpy") as opened:
                yield opened, begin
        except SafetensorError as error:
            reason = contents.describe(path) or f"cut short or damaged ({error}): fetch it again"
            raise ValueError(f"{path}: not a complete safetensors file: {reason}") from error
