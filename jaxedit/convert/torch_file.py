"""PyTorch's weight files (`.pt`, `.pth`, `.bin`), read without PyTorch and without running them.

Such a file is a zip of uncompressed members: a pickle of the nested dicts (`NAME/data.pkl`) and the
bytes of each storage (`NAME/data/0`, ...), of which several tensors may be views. Only the zip's
directory and the pickle are read here, and the pickle's checksum is always compared. A tensor is
read when it is indexed, and its checksum is not: that would mean to read all of its storage.
"""

import re
import struct
import zipfile
import zlib
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np
from etils import epath

from jaxedit.convert import torch_pickle
from jaxedit.convert.stored import Stored
from jaxedit.convert.torch_pickle import Builder, Namespace

MAX_DIRECTORY = 1 << 24  # bytes of a zip's directory: about 200 000 members
LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # before PyTorch 1.6
TYPES = {
    "Double": ("float64", np.dtype(np.float64)),
    "Float": ("float32", np.dtype(np.float32)),
    "Half": ("float16", np.dtype(np.float16)),
    "BFloat16": ("bfloat16", np.dtype(ml_dtypes.bfloat16)),
    "Long": ("int64", np.dtype(np.int64)),
    "Int": ("int32", np.dtype(np.int32)),
    "Short": ("int16", np.dtype(np.int16)),
    "Char": ("int8", np.dtype(np.int8)),
    "Byte": ("uint8", np.dtype(np.uint8)),
    "Bool": ("bool", np.dtype(np.bool_)),
    "ComplexFloat": ("complex64", np.dtype(np.complex64)),
}


class Member(NamedTuple):
    """The bytes of one file inside the zip."""

    offset: int
    size: int
    checksum: int


class Storage(NamedTuple):
    """The bytes that tensors are views of."""

    offset: int
    end: int
    dtype: np.dtype


def read_index(path: epath.PathLike) -> Any:
    """Everything in a PyTorch file, with `Stored` in place of the tensors.

    Args:
      path: local or `gs://`.

    Returns:
      What was saved, usually nested dicts; a Parameter is its tensor, an `argparse.Namespace` is a
      `torch_pickle.Namespace`, a device is a string and a dtype numpy's.

    Raises:
      ValueError: not such a file, damaged, or in need of code that weights do not need.
      OSError: the file cannot be read.
    """
    path = epath.Path(path)
    try:
        with path.open("rb") as file:
            _require_zip(file)
            file.seek(0, 2)
            size = file.tell()  # not every file system's `seek` tells
            members = _members(file, size)
            archive = _Archive(path, size, members)
            program = archive.read(file, "data.pkl")
            if f"{archive.root}/byteorder" in members:
                order = archive.read(file, "byteorder")
                if order != b"little":
                    raise ValueError(f"byte order {order[:20]!r}: expected b'little'")
        return torch_pickle.load(program, archive.names(), archive.storage)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class _Archive:
    """The members of one file, and how its pickle may refer to them."""

    def __init__(self, path: epath.Path, size: int, members: dict[str, Member]) -> None:
        roots = [
            match[1] for name in members if (match := re.fullmatch(r"([^/]+)/data\.pkl", name))
        ]
        if len(roots) != 1:
            raise ValueError(f"a zip with {len(roots)} members NAME/data.pkl: expected one")
        self.path, self.size, self.members, self.root = path, size, members, roots[0]

    def read(self, file: BinaryIO, name: str) -> bytes:
        """The bytes of a small member.

        Raises:
          ValueError: it is large, or its checksum differs.
        """
        member = self.members[f"{self.root}/{name}"]
        if member.size > torch_pickle.MAX_BYTES:
            raise ValueError(f"{name} of {member.size} bytes: at most {torch_pickle.MAX_BYTES}")
        file.seek(member.offset)
        data = file.read(member.size)
        if member.checksum and zlib.crc32(data) != member.checksum:  # 0: saved without
            raise ValueError(f"damaged: the checksum of {name} differs")
        return data

    def names(self) -> dict[str, Any]:
        """What the pickle may mention."""
        tensor, parameter = Builder(self.tensor), Builder(_parameter)
        return {
            "collections OrderedDict": Builder(_empty_dict),
            "argparse Namespace": Builder(_namespace),
            "torch._utils _rebuild_tensor": tensor,
            "torch._utils _rebuild_tensor_v2": tensor,
            "torch._utils _rebuild_parameter": parameter,
            "torch._utils _rebuild_parameter_with_state": parameter,
            "torch Size": Builder(_size),
            "torch device": Builder(_device),
            "torch.storage UntypedStorage": np.dtype(np.uint8),
            **{f"torch {kind}Storage": dtype for kind, (_, dtype) in TYPES.items()},
            **{f"torch {name}": dtype for name, dtype in TYPES.values()},
        }

    def storage(self, reference: Any) -> Storage:
        """The storage of a persistent id: ("storage", dtype, key, device, number of elements)."""
        word, dtype, key, _, size = reference
        if word != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise TypeError("a storage without type or key")
        member = self.members.get(f"{self.root}/data/{key}")
        if member is None:
            raise ValueError(f"storage {key[:50]!r} is not in the file")
        if size * dtype.itemsize != member.size:
            raise ValueError(f"{member.size} bytes are no storage of {str(size)[:50]} {dtype}")
        return Storage(member.offset, member.offset + member.size, dtype)

    def tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Stored:
        """A view of a storage; the hooks and whether it is trained do not matter here."""
        tuples = isinstance(shape, tuple) and isinstance(strides, tuple)
        numbers = (offset, *shape, *strides) if tuples else (None,)
        if not isinstance(storage, Storage) or not all(type(n) is int for n in numbers):
            raise TypeError("a tensor of something else than a storage and whole numbers")
        offset = storage.offset + offset * storage.dtype.itemsize
        array = Stored(self.path, offset, storage.dtype, shape, strides)
        inside = storage.offset <= offset and array.end <= storage.end
        if array.size and not inside:  # an empty view may begin anywhere
            raise ValueError(f"a tensor of shape {shape}, strides {strides} exceeds its storage")
        if array.nbytes > self.size:
            raise ValueError(f"a tensor of shape {shape}, strides {strides} exceeds the file")
        return array


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _empty_dict() -> dict:
    return {}


def _namespace() -> Namespace:
    return Namespace()


def _size(numbers: tuple) -> tuple:
    return numbers


def _device(*parts: Any) -> str:
    return ":".join(str(part) for part in parts if isinstance(part, str | int))


def _require_zip(file: BinaryIO) -> None:
    start = file.read(len(LEGACY))
    file.seek(0)
    if start == LEGACY:
        raise ValueError(
            "in the format from before PyTorch 1.6; save it again where PyTorch is installed: "
            "torch.save(torch.load(OLD, weights_only=True), NEW)"
        )
    if not start.startswith(b"PK\3\4"):
        raise ValueError(f"not a PyTorch file: it begins with {start!r}")


def _members(file: BinaryIO, file_size: int) -> dict[str, Member]:
    """Every member of a zip, by name.

    Raises:
      ValueError: damaged, compressed or encrypted, or with members that overlap.
    """
    try:
        entries = zipfile.ZipFile(_Careful(file)).infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, OverflowError) as error:
        raise ValueError(f"a damaged zip: {error}") from error
    members: dict[str, Member] = {}
    free = 0  # the first byte after the members so far
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name, size = entry.filename, entry.file_size
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != size:
            raise ValueError(f"{name[:100]!r} is compressed, as torch.save never does")
        file.seek(entry.header_offset)
        header = file.read(30)
        if entry.header_offset < free or len(header) < 30 or header[:4] != b"PK\3\4":
            raise ValueError(f"a damaged zip: {name[:100]!r} begins inside another member")
        offset = entry.header_offset + 30 + sum(struct.unpack("<2H", header[26:]))
        free = offset + size
        if name in members or entry.flag_bits & 1:
            raise ValueError(f"{name[:100]!r} is there twice or encrypted")
        members[name] = Member(offset, size, entry.CRC)
    if free > file_size:
        raise ValueError("cut short: its members exceed the file")
    return members


class _Careful:
    """What `zipfile` sees of a file: it would read a directory of any size at once."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise ValueError(f"a zip directory of {size} bytes: expected at most {MAX_DIRECTORY}")
        return self.file.read(size)
