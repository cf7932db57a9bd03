"""Write files in PyTorch's zip format without PyTorch, for tests and benchmarks.

The pickle, the order of the members and the alignment of the storages are those of `torch.save`.
numpy arrays become tensors, and those that are views of one array become views of one storage.
Arrays of `Virtual` numbers are never in memory, so that a file of the largest models' shapes can be
made anywhere: as holes they take no room on the disk either.
"""

import argparse
import collections
import contextlib
import io
import math
import pathlib
import pickle
import struct
import sys
import types
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

ALIGNMENT = 64
PIECE = 1 << 22  # numbers that are generated at once
STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}  # of other types PyTorch saves plain bytes, and the type beside


class Parameter(NamedTuple):
    """An array that is saved as a `torch.nn.Parameter`."""

    data: np.ndarray


class Made(NamedTuple):
    """The result of a call to a class or function, which need not exist."""

    module: str
    name: str
    arguments: tuple[Any, ...] = ()
    attributes: Any = None


class Virtual(NamedTuple):
    """An array that exists only in the file: a hole (zeros), or normal numbers from a seed.

    Its checksum is written as 0, as PyTorch does where checksums are turned off.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    seed: int | None = None
    scale: float = 0.02

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def pieces(self) -> Iterator[np.ndarray]:
        """The numbers, in C order."""
        generator = np.random.default_rng(self.seed)
        for start in range(0, math.prod(self.shape), PIECE):
            count = min(PIECE, math.prod(self.shape) - start)
            yield (self.scale * generator.standard_normal(count, np.float32)).astype(self.dtype)


def save(path: pathlib.Path, content: Any, *, root: str = "archive") -> None:
    """Write the file of `torch.save(content, path)`, for nested plain data and arrays.

    Args:
      path: file to write.
      content: dicts (also ordered ones), lists, tuples, `argparse.Namespace`, None, booleans,
        numbers, strings, bytes, numpy arrays, `Parameter`, `Made` and `Virtual`.
      root: directory inside the zip; PyTorch takes the file's name.
    """
    storages: dict[int, np.ndarray | Virtual] = {}
    program = b"\x80\x02" + _pickle(content, storages) + b"."
    write_zip(
        path,
        {
            f"{root}/data.pkl": program,
            f"{root}/byteorder": b"little",
            **{f"{root}/data/{key}": data for key, data in enumerate(storages.values())},
            f"{root}/version": b"3\n",
        },
    )


def save_with_python(path: pathlib.Path, weights: Mapping[str, Any], beside: Any, protocol: int):
    """Write {"state_dict": weights, "beside": beside} by Python's own pickler.

    Args:
      path: file to write.
      weights: numpy arrays of float32 by key.
      beside: anything that can be pickled.
      protocol: of the pickle, 2 to 5.
    """
    arrays = list(weights.values())
    build, kind = _Named("torch._utils", "_rebuild_tensor_v2"), _Named("torch", "FloatStorage")

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if not isinstance(value, _Storage):
                return None
            return ("storage", kind, str(value.key), "cpu", arrays[value.key].size)

        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, _Named):
                return value.name
            if not isinstance(value, _Tensor):
                return NotImplemented
            shape = arrays[value.key].shape
            strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
            return build, (_Storage(value.key), 0, shape, strides, False, collections.OrderedDict())

    tensors = {key: _Tensor(n) for n, key in enumerate(weights)}
    data = io.BytesIO()
    with _importable(build, kind):
        Pickler(data, protocol).dump({"state_dict": tensors, "beside": beside})
    members = {f"a/data/{n}": array for n, array in enumerate(arrays)}
    write_zip(path, {"a/data.pkl": data.getvalue(), "a/byteorder": b"little", **members})


class _Tensor(NamedTuple):
    key: int


class _Storage(NamedTuple):
    key: int


class _Named:
    """A name of a module that is not installed."""

    def __init__(self, module: str, name: str) -> None:
        self.__module__, self.name, self.__qualname__ = module, name, name

    def __call__(self) -> None:
        """Look like a function to the pickler."""


@contextlib.contextmanager
def _importable(*names: _Named) -> Iterator[None]:
    """The pickler finds the names where they say that they are."""
    before = dict(sys.modules)
    for named in names:
        module = sys.modules.setdefault(named.__module__, types.ModuleType(named.__module__))
        setattr(module, named.name, named)
    try:
        yield
    finally:
        sys.modules.clear()
        sys.modules.update(before)


def write_zip(path: pathlib.Path, members: Mapping[str, bytes | np.ndarray | Virtual]) -> None:
    """Write a zip64 of uncompressed members, each beginning at a multiple of 64 bytes."""
    directory = b""
    with path.open("wb") as file:
        for name, data in members.items():
            directory += _write_member(file, name.encode(), data)
        start = file.tell()
        count, size = len(members), len(directory)
        end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
        few = min(count, 0xFFFF)
        end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, few, few, size, 0xFFFFFFFF, 0)
        file.write(directory + end64 + locator + end)


def _write_member(file: BinaryIO, name: bytes, data: bytes | np.ndarray | Virtual) -> bytes:
    """Write one member; returns its entry for the directory."""
    if isinstance(data, np.ndarray):
        data = data.ravel("K").view(np.uint8).data  # in the order of memory, to which strides refer
    start, virtual = file.tell(), isinstance(data, Virtual)
    size = data.nbytes if virtual else len(data)
    checksum = 0 if virtual else zlib.crc32(data)
    common = struct.pack("<HHHHI", 0, 0, 0, 33, checksum)  # stored, first of January 1980
    both = 2 * struct.pack("<I", 0xFFFFFFFF)  # both sizes are in the extra field
    sizes = struct.pack("<HHQQ", 1, 16, size, size)
    padding = -(start + 30 + len(name) + len(sizes) + 4) % ALIGNMENT
    extra = sizes + struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    file.write(b"PK\3\4" + struct.pack("<H", 45) + common + both)
    file.write(struct.pack("<HH", len(name), len(extra)) + name + extra)
    if virtual and data.seed is None:
        file.seek(size, 1)
    elif virtual:
        for piece in data.pieces():
            file.write(piece.view(np.uint8).data)
    else:
        file.write(data)
    sizes = struct.pack("<HHQQQ", 1, 24, size, size, start)
    lengths = struct.pack("<HHHHHI", len(name), len(sizes), 0, 0, 0, 0)
    place = struct.pack("<I", 0xFFFFFFFF)
    return b"PK\1\2" + struct.pack("<HH", 45, 45) + common + both + lengths + place + name + sizes


def _pickle(value: Any, storages: dict[int, np.ndarray | Virtual]) -> bytes:
    """The instructions that push `value`; `storages` collects the arrays, by identity."""

    def items(mapping: Mapping[Any, Any]) -> bytes:
        pairs = (_pickle(k, storages) + _pickle(v, storages) for k, v in mapping.items())
        return b"(" + b"".join(pairs) + b"u"

    match value:
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int() if -(2**31) <= value < 2**31:
            return struct.pack("<ci", b"J", value)
        case int():
            return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
        case bytes():
            return (
                b"c_codecs\nencode\n" + _text(value.decode("latin1")) + _text("latin1") + b"\x86R"
            )
        case Made():
            made = f"c{value.module}\n{value.name}\n".encode()
            made += _pickle(tuple(value.arguments), storages) + b"R"
            return made + (_pickle(value.attributes, storages) + b"b" if value.attributes else b"")
        case float():
            return struct.pack(">cd", b"G", value)
        case str():
            return _text(value)
        case Virtual() | np.ndarray():
            return _tensor(value, storages)
        case Parameter():
            head = b"ctorch._utils\n_rebuild_parameter\n("
            return head + _tensor(value.data, storages) + b"\x88" + _ordered() + b"tR"
        case tuple():
            return b"(" + b"".join(_pickle(v, storages) for v in value) + b"t"
        case list():
            return b"](" + b"".join(_pickle(v, storages) for v in value) + b"e"
        case argparse.Namespace():
            return b"cargparse\nNamespace\n)\x81}" + items(vars(value)) + b"b"
        case collections.OrderedDict():
            return _ordered() + items(value)
        case dict():
            return b"}" + items(value)
    raise TypeError(f"{type(value).__name__}: expected plain data or an array")


def _tensor(array: np.ndarray | Virtual, storages: dict[int, np.ndarray | Virtual]) -> bytes:
    """A view of its storage, which is the array that owns the numbers."""
    storage, offset = array, 0
    if isinstance(array, np.ndarray):
        while isinstance(storage.base, np.ndarray) and storage.base.dtype == array.dtype:
            storage = storage.base
        offset = (array.ctypes.data - storage.ctypes.data) // array.itemsize
        strides = tuple(stride // array.itemsize for stride in array.strides)
    else:
        strides = tuple(math.prod(array.shape[axis + 1 :]) for axis in range(len(array.shape)))
    storages.setdefault(id(storage), storage)
    key = list(storages).index(id(storage))
    dtype = np.dtype(storage.dtype)
    size, kind = math.prod(storage.shape), f"ctorch\n{STORAGES.get(dtype.name)}\n".encode()
    build, named = b"ctorch._utils\n_rebuild_tensor_v2\n(", b""
    if dtype.name not in STORAGES:
        size, kind = size * dtype.itemsize, b"ctorch.storage\nUntypedStorage\n"
        build, named = build.replace(b"v2", b"v3"), f"ctorch\n{dtype.name}\n".encode()
    place = (
        b"(" + _text("storage") + kind + _text(str(key)) + _text("cpu") + _pickle(size, {}) + b"tQ"
    )
    numbers = b"".join(_pickle(item, {}) for item in (offset, tuple(array.shape), strides))
    return build + place + numbers + b"\x89" + _ordered() + named + b"tR"


def _ordered() -> bytes:
    return b"ccollections\nOrderedDict\n)R"


def _text(text: str) -> bytes:
    return struct.pack("<cI", b"X", len(text.encode())) + text.encode()
