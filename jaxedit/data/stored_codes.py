"""The codes of a store's pictures, kept beside its shards so that training need not encode them.

STORE/codes-NAME/codes.json    what the codes belong to, `_described`; NAME is its hash
STORE/codes-NAME/00000.npy     codes of rows 0 to 1023 [rows, pictures, N], row by row of the grid;
                               00001.npy of the next rows, and so on
"""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

from jaxedit import tree
from jaxedit.atomic_write import atomic_write
from jaxedit.config import VQConfig
from jaxedit.data.record import CAPTIONED
from jaxedit.data.store import METADATA, Store
from jaxedit.data.transforms import Fit

VERSION = 1  # of the layout
BLOCK_ROWS = 1024  # rows of a file
SOURCE, TARGET, EDGES = "source", "target", "edges"
_DESCRIPTION = "codes.json"
_READ = ("encoder", "quant_conv", "codebook")  # parameters that codes depend on


class NoCodes(LookupError):
    """There are no codes that can be used; the message says why."""


class Encoding(NamedTuple):
    """The settings on which the codes of a picture depend."""

    tokenizer: str  # hash of the weights
    image_size: int  # pixels of the square
    fit: str  # pad, or crop and its rule: how the picture becomes the square
    tokens: int  # N, codes of a picture
    vocabulary: int  # V, entries of the codebook

    @classmethod
    def of(cls, config: VQConfig, params: tree.Tree, image_size: int, fit: Fit) -> "Encoding":
        """Return the encoding of square pictures by a tokenizer with these weights."""
        return cls(
            tokenizer=hash_weights(config, params),
            image_size=image_size,
            fit=fit.kind if fit.kind == "pad" else f"{fit.kind} {fit.rule}",
            tokens=(image_size // config.stride) ** 2,
            vocabulary=config.codes,
        )


@dataclasses.dataclass(frozen=True)
class StoredCodes:
    """The codes of all rows of a store; picklable and safe to share by threads."""

    directory: pathlib.Path
    rows: int  # of the store, dropped rows included
    pictures: tuple[str, ...]  # of each row: source, target and perhaps edges
    encoding: Encoding

    @classmethod
    def create(cls, store: Store, encoding: Encoding) -> "StoredCodes":
        """Return the codes of a store, of which some or all files may have to be written yet.

        Raises:
          OSError: nothing can be written there.
        """
        codes, description = _codes_of(store, encoding)
        codes.directory.mkdir(exist_ok=True)
        with atomic_write(codes.directory / _DESCRIPTION) as part:
            part.write_text(json.dumps(description, indent=1), "utf-8")
        return codes

    @classmethod
    def load(cls, store: Store, encoding: Encoding) -> "StoredCodes":
        """Return the codes of a store, all of which are there.

        Raises:
          NoCodes: some are not there; the message tells what is there instead.
        """
        codes, description = _codes_of(store, encoding)
        if not codes.directory.is_dir():
            others = [_difference(path, description) for path in folders_in(store.directory)]
            raise NoCodes(f"{store.directory} has {'; '.join(others) or 'none'}")
        missing = [block for block in codes.blocks if not codes.is_written(block)]
        if missing:
            counts = f"{len(missing)} of {len(codes.blocks)}"
            raise NoCodes(f"{codes.directory}: {counts} files are missing: run the command again")
        return codes

    @property
    def blocks(self) -> range:
        """Return the numbers of the files."""
        return range(-(-self.rows // BLOCK_ROWS))

    def rows_of(self, block: int) -> range:
        """Return the numbers of a file's rows."""
        return range(self.rows)[block * BLOCK_ROWS : (block + 1) * BLOCK_ROWS]

    def is_written(self, block: int) -> bool:
        """Tell whether a file is there, with all its rows."""
        try:
            found = np.load(self._path(block), mmap_mode="r")
        except (OSError, ValueError, EOFError):  # missing, empty or damaged
            return False
        return found.shape == self._shape(block) and found.dtype == self._dtype

    def write(self, block: int, codes: Int32[np.ndarray, "rows P N"]) -> None:
        """Write a file as a whole, or not at all.

        Raises:
          OSError: it cannot be written.
        """
        with atomic_write(self._path(block)) as part, part.open("wb") as file:
            np.save(file, codes.astype(self._dtype))

    def __getitem__(self, number: int) -> Int32[np.ndarray, "P N"]:
        """Return the codes of the row with this number among all rows of the shards.

        Raises:
          OSError: the file cannot be read.
        """
        block, row = divmod(number, BLOCK_ROWS)
        try:
            codes = np.load(self._path(block), mmap_mode="r")[row]
        except (ValueError, EOFError, IndexError) as error:
            raise OSError(f"{self._path(block)}: damaged: remove it and encode again") from error
        return codes.astype(np.int32)

    def pair(self, number: int, source: str, target: str) -> Int32[np.ndarray, "2 N"]:
        """Return the codes of two of a row's pictures, by their names."""
        return self[number][[self.pictures.index(source), self.pictures.index(target)]]

    @property
    def _dtype(self) -> np.dtype:
        return np.min_scalar_type(self.encoding.vocabulary - 1)

    def _shape(self, block: int) -> tuple[int, int, int]:
        return len(self.rows_of(block)), len(self.pictures), self.encoding.tokens

    def _path(self, block: int) -> pathlib.Path:
        return self.directory / f"{block:05}.npy"


def folders_in(directory: pathlib.Path) -> list[pathlib.Path]:
    """Return the folders of codes in a store, complete or not."""
    return sorted(path.parent for path in directory.glob(f"codes-*/{_DESCRIPTION}"))


def hash_weights(config: VQConfig, params: tree.Tree) -> str:
    """Return a hash of the parameters that codes depend on, as f32; the decoder does not count.

    Args:
      params: of `VQTokenizer`: arrays, or parameters in their files.
    """
    digest = hashlib.sha256(str(config.unit_norm).encode())
    flat = tree.flatten({name: params[name] for name in _READ})
    for path in sorted(flat):
        array = np.ascontiguousarray(np.asarray(flat[path]).astype(np.float32))
        digest.update(f"{path}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()[:16]


def _codes_of(store: Store, encoding: Encoding) -> tuple[StoredCodes, dict[str, Any]]:
    """Return the codes of a store, which need not exist, and their description."""
    has_edges = store.read(0).task in CAPTIONED
    pictures = (SOURCE, TARGET, EDGES) if has_edges else (SOURCE, TARGET)
    description = {
        "version": VERSION,
        "store": hashlib.sha256((store.directory / METADATA).read_bytes()).hexdigest()[:16],
        "rows": store.rows,
        "pictures": list(pictures),
        **encoding._asdict(),
    }
    name = hashlib.sha256(json.dumps(description).encode()).hexdigest()[:12]
    codes = StoredCodes(store.directory / f"codes-{name}", store.rows, pictures, encoding)
    return codes, description


def _difference(directory: pathlib.Path, expected: dict[str, Any]) -> str:
    """Tell what other codes are there."""
    try:
        found = json.loads((directory / _DESCRIPTION).read_text("utf-8"))
        differ = [
            f"{key}={found.get(key)}, not {expected[key]}"
            for key in expected
            if found.get(key) != expected[key]
        ]
    except (OSError, ValueError, AttributeError):
        return f"{directory.name}, which is damaged"
    return f"{directory.name} of {', '.join(differ)}"
