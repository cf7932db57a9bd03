"""PyTorch's weight files (`.pt`, `.pth`, `.bin`), read without PyTorch and without running them.

Such a file is a zip of uncompressed members: a pickle of the nested dicts (`NAME/data.pkl`) and the
bytes of each storage (`NAME/data/0`, ...), of which several tensors may be views. Only the zip's
directory and the pickle are read here, and the pickle's checksum is compared. A tensor is read when
it is indexed; checksums of storages are not compared, as this would read the whole storage.
Ours, since PyTorch, the only library that reads these files, is no dependency of jaxedit.
"""

import re
import struct
import zipfile
import zlib
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from etils import epath

from jaxedit.checkpoints import contents
from jaxedit.checkpoints.lazy_tensor import BinaryFile, LazyTensor, in_file, span
from jaxedit.convert.torch_reader import torch_pickle
from jaxedit.convert.torch_reader.inert import Inert, refusal
from jaxedit.convert.torch_reader.torch_pickle import Builder, Namespace

MAX_DIRECTORY = 1 << 24  # bytes of a zip's directory: about 200 000 members
LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # before PyTorch 1.6
STORAGES = {  # storage classes of PyTorch, without "Storage"
    "Double": np.dtype(np.float64),
    "Float": np.dtype(np.float32),
    "Half": np.dtype(np.float16),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype(np.int64),
    "Int": np.dtype(np.int32),
    "Short": np.dtype(np.int16),
    "Char": np.dtype(np.int8),
    "Byte": np.dtype(np.uint8),
    "Bool": np.dtype(np.bool_),
    "ComplexFloat": np.dtype(np.complex64),
    "ComplexDouble": np.dtype(np.complex128),
}
UNSTORED = (  # types without a storage class: files name the type beside untyped bytes
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("uint16", "uint32", "uint64"),
)
PLAIN_TENSORS = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")


class InertTensor(Inert):
    """A tensor or a storage of an unknown class or dtype."""


class Member(NamedTuple):
    """The place of a file inside the zip."""

    offset: int
    size: int
    checksum: int


class Storage(NamedTuple):
    """The place of the bytes that tensors are views of."""

    offset: int
    end: int
    dtype: np.dtype


def read_index(path: epath.PathLike) -> Any:
    """Read a PyTorch file, with `LazyTensor` in place of the tensors.

    Returns:
      The saved object, usually nested dicts; a Parameter is its tensor, an `argparse.Namespace` is
      a `torch_pickle.Namespace`, a device is a string, a dtype numpy's, and objects of unknown
      classes are `Inert`.

    Raises:
      ValueError: not a PyTorch file, damaged, or in need of code that weights do not need.
      OSError: the file cannot be read.
    """
    path = epath.Path(path)
    try:
        with path.open("rb") as file:
            _require_zip(path, file)
            file.seek(0, 2)
            size = file.tell()
            members = _members(file, size)
            archive = _Archive(path, size, members)
            program = archive.read(file, "data.pkl")
            if f"{archive.root}/byteorder" in members:
                order = archive.read(file, "byteorder")
                if order != b"little":
                    raise ValueError(f"byte order {order[:20]!r}: expected b'little'")
        content = torch_pickle.load(program, archive.names(), archive.storage)
        if isinstance(content, Inert):
            raise ValueError(refusal([content]))
        return content
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def is_tensor(value: Inert) -> bool:
    """Return whether a value is, or was made from, a tensor."""
    kinds = (LazyTensor, Storage, InertTensor)
    return isinstance(value, kinds) or value.contains(kinds)


class _Archive:
    """The members of one file, and the functions that its pickle may call."""

    def __init__(self, path: epath.Path, size: int, members: dict[str, Member]) -> None:
        self.path, self.size, self.members = path, size, members
        self.root = next(name for name in members if name.endswith("/data.pkl")).split("/")[0]

    def read(self, file: BinaryFile, name: str) -> bytes:
        """Read a small member; ValueError if it is large or its checksum differs."""
        member = self.members[f"{self.root}/{name}"]
        if member.size > torch_pickle.MAX_BYTES:
            raise ValueError(f"{name} of {member.size} bytes: at most {torch_pickle.MAX_BYTES}")
        file.seek(member.offset)
        data = file.read(member.size)
        if member.checksum and zlib.crc32(data) != member.checksum:  # 0: saved without checksum
            raise ValueError(f"damaged: the checksum of {name} differs")
        return data

    def names(self) -> dict[str, Any]:
        """Return the values of all names that the pickle may mention."""
        builders = {
            "collections OrderedDict": _dict,
            "collections Counter": _dict,
            "collections defaultdict": lambda *_: {},
            "argparse Namespace": lambda: Namespace(),
            "types SimpleNamespace": lambda: Namespace(),
            "_codecs encode": _encode,
            "torch._utils _rebuild_tensor": self.tensor,
            "torch._utils _rebuild_tensor_v2": self.tensor,
            "torch._utils _rebuild_tensor_v3": self.typed_tensor,
            "torch._tensor _rebuild_from_type_v2": _of_class,
            "torch._utils _rebuild_parameter": _first,
            "torch._utils _rebuild_parameter_with_state": _first,
            "torch._utils _rebuild_device_tensor_from_cpu_tensor": _first,
            "torch Size": _first,
            "torch device": _device,
        }
        return {
            **{name: Builder(build) for name, build in builders.items()},
            "torch.storage UntypedStorage": np.dtype(np.uint8),
            **{f"torch {kind}Storage": dtype for kind, dtype in STORAGES.items()},
            **{f"torch {dtype.name}": dtype for dtype in STORAGES.values()},
            **{f"torch {name}": np.dtype(name) for name in UNSTORED},
        }

    def storage(self, reference: Any) -> Storage | Inert:
        """Return the storage of a persistent id: ("storage", dtype, key, device, elements)."""
        word, dtype, key, _, size = reference
        if isinstance(dtype, Inert):
            return InertTensor(dtype.name)
        if word != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise TypeError("a storage without type or key")
        member = self.members.get(f"{self.root}/data/{key}")
        if member is None:
            raise ValueError(f"storage {key[:50]!r} is not in the file")
        if size * dtype.itemsize != member.size:
            raise ValueError(f"{member.size} bytes are no storage of {str(size)[:50]} {dtype}")
        return Storage(member.offset, member.offset + member.size, dtype)

    def tensor(
        self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any
    ) -> LazyTensor | Inert:
        """Return a view of a storage; hooks and the flag of training are ignored."""
        if isinstance(storage, Inert):
            return storage
        are_tuples = isinstance(shape, tuple) and isinstance(strides, tuple)
        numbers = (offset, *shape, *strides) if are_tuples else (None,)
        if not isinstance(storage, Storage) or not all(type(n) is int for n in numbers):
            raise TypeError("a tensor without a storage or whole numbers")
        offset = storage.offset + offset * storage.dtype.itemsize
        array = in_file(self.path, offset, storage.dtype, shape, strides)
        end = offset + span(shape, strides) * storage.dtype.itemsize
        is_inside = storage.offset <= offset and end <= storage.end
        if array.size and not is_inside:  # an empty view may begin anywhere
            raise ValueError(f"a tensor of shape {shape}, strides {strides} exceeds its storage")
        if array.nbytes > self.size:
            raise ValueError(f"a tensor of shape {shape}, strides {strides} exceeds the file")
        return array

    def typed_tensor(self, storage: Any, *arguments: Any) -> LazyTensor | Inert:
        """Return a view of untyped bytes: (offset, shape, strides, is trained, hooks, dtype)."""
        dtype = arguments[5]
        if isinstance(dtype, Inert):
            return InertTensor(dtype.name)
        if not isinstance(storage, Storage) or not isinstance(dtype, np.dtype):
            raise TypeError("a tensor without a storage or a type")
        return self.tensor(storage._replace(dtype=dtype), *arguments)


def _first(value: Any, *_: Any) -> Any:
    return value


def _of_class(build: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """Return a tensor without its attributes; inert if it is of a subclass."""
    is_plain = isinstance(kind, Inert) and kind.name in PLAIN_TENSORS
    if is_plain and isinstance(build, Builder) and isinstance(arguments, tuple):
        return build.build(*arguments)
    return InertTensor(getattr(kind, "name", "torch.Tensor"))


def _dict(entries: Any = (), *_: Any) -> dict:
    """Return a dict of the entries of a dict or, as Python 2 wrote them, of a list of pairs."""
    pairs = entries.items() if isinstance(entries, dict) else entries
    return torch_pickle.set_items({}, [part for key, value in pairs for part in (key, value)])


def _encode(text: Any, encoding: Any = "latin1") -> bytes | Inert:
    """Return bytes, which protocol 2 writes as a text."""
    if isinstance(text, str) and encoding in ("latin1", "latin-1"):
        return text.encode("latin-1")
    return Inert("_codecs.encode")


def _device(*parts: Any) -> str:
    return ":".join(str(part) for part in parts if isinstance(part, str | int))


def _require_zip(path: epath.Path, file: BinaryFile) -> None:
    """Raise ValueError, with the kind of the file, unless it begins as a zip does."""
    start = file.read(len(LEGACY))
    file.seek(0)
    if start == LEGACY:
        raise ValueError(
            "in the format from before PyTorch 1.6; save it again where PyTorch is installed: "
            "torch.save(torch.load(OLD, weights_only=True), NEW)"
        )
    if not start.startswith(contents.ZIP):
        other = contents.describe(path)
        raise ValueError(f"not a PyTorch file: {other or f'it begins with {start!r}'}")


def _members(file: BinaryFile, file_size: int) -> dict[str, Member]:
    """Return the members of a zip by name.

    Raises:
      ValueError: the zip is damaged, compressed or encrypted, or its members overlap.
    """
    try:
        entries = zipfile.ZipFile(_LimitedFile(file)).infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, OverflowError) as error:
        raise ValueError(
            f"cut short or damaged: a zip without its end ({error}), as after an incomplete "
            "download: fetch it again"
        ) from error
    _require_tensors([entry.filename for entry in entries])
    members: dict[str, Member] = {}
    free = 0  # first byte after the members so far: no two members may share bytes
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name, size = entry.filename, entry.file_size
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != size:
            raise ValueError(f"{name[:100]!r} is compressed, as torch.save never does")
        file.seek(entry.header_offset)
        header = file.read(30)
        if entry.header_offset < free or len(header) < 30 or header[:4] != b"PK\3\4":
            raise ValueError(f"a damaged zip: {name[:100]!r} begins inside another member")
        # The header ends with the lengths of a name and an extra field, which follow it.
        offset = entry.header_offset + 30 + sum(struct.unpack("<2H", header[26:]))
        free = offset + size
        if name in members or entry.flag_bits & 1:
            raise ValueError(f"{name[:100]!r} is there twice or encrypted")
        members[name] = Member(offset, size, entry.CRC)
    if free > file_size:
        raise ValueError("cut short: its members exceed the file")
    return members


def _require_tensors(names: list[str]) -> None:
    """Raise ValueError unless a zip with these members was written by `torch.save`."""
    roots = [name for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if any(re.fullmatch(r"[^/]+/constants\.pkl", name) for name in names):
        raise ValueError("a TorchScript program; save the state_dict() of its module instead")
    if len(roots) != 1:
        shown = ", ".join(ascii(name[:60])[1:-1] for name in names[:5]) or "nothing"
        raise ValueError(
            f"a zip with {len(roots)} members NAME/data.pkl: expected one; it holds {shown}: "
            "if that is a checkpoint, unpack it first"
        )


class _LimitedFile:
    """A file for `zipfile`, which would otherwise read a directory of any size at once."""

    def __init__(self, file: BinaryFile) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise ValueError(f"a zip directory of {size} bytes: expected at most {MAX_DIRECTORY}")
        return self.file.read(size)
