"""A file of text features: what one run has computed, every later run reads.

A safetensors file with an array [n,D] for each text, without the zeros at its end. The header says
which text encoder computed them; the features of another encoder are refused.
"""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from etils import epath
from jaxtyping import Float32

from jaxedit.atomic_write import atomic_write
from jaxedit.checkpoints import safetensors_file, shards
from jaxedit.checkpoints.hub import Directory
from jaxedit.checkpoints.lazy_tensor import LazyTensor
from jaxedit.config import PretrainedConfig, family_of, require, sizes_of, to_dict
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.file_lock import locked

ORIGIN = "text_encoder"  # key of the header
PREFIX = "text/"  # before a text, in the name of its array


class TextFeaturesFile:
    """Features by text, in a file that grows."""

    def __init__(self, path: str | os.PathLike, origin: dict[str, str]) -> None:
        """Open a file, or the place for a new file.

        Args:
          path: local or gs://; need not exist.
          origin: of the features, see `origin_of`.

        Raises:
          ConfigError: the file's features have another origin; the message says what differs.
          ValueError: the file is damaged.
          OSError: the folder is missing.
        """
        self._path, self._origin = epath.Path(path).expanduser(), origin
        folder = self._path.parent
        if not folder.is_dir():
            raise FileNotFoundError(f"{self._path}: there is no folder {folder}")
        self._stored = self._read()

    def __contains__(self, text: str) -> bool:
        """Tell whether the file has the features of a text."""
        return PREFIX + text in self._stored

    def read(self, text: str) -> Float32[np.ndarray, "n D"]:
        """Return the features of a text that is there; beyond n tokens they are zero."""
        return self._stored[PREFIX + text][...]

    def add(self, features: Mapping[str, Float32[np.ndarray, "T D"]]) -> None:
        """Write the file anew with more features; a reader finds the old file or the new file.

        Args:
          features: by text.

        Raises:
          OSError: the file cannot be written.
        """
        new = {PREFIX + text: array[: _length(array)] for text, array in features.items()}
        folder = pathlib.Path(self._path.parent)
        # on a local disk other processes wait, so that they add to what is written here
        with locked(folder) if folder.is_dir() else contextlib.nullcontext():
            arrays = self._read() | new  # also what another process has added meanwhile
            with atomic_write(self._path) as part:
                safetensors_file.write(part, arrays, metadata={ORIGIN: json.dumps(self._origin)})
            self._stored = self._read()

    def _read(self) -> dict[str, LazyTensor]:
        """Return the arrays of the file, not read yet; none if there is no file."""
        if not self._path.exists():
            return {}
        stored = safetensors_file.read_stored(self._path)
        written = safetensors_file.read_metadata(self._path).get(ORIGIN)
        require(written is not None, f"{self._path}: expected text features of jaxedit")
        there = json.loads(written)
        differ = [
            f"{name} is {there.get(name)} there, {self._origin.get(name)} here"
            for name in {**there, **self._origin}
            if there.get(name) != self._origin.get(name)
        ]
        require(not differ, f"{self._path}: of another text encoder: {', '.join(differ)}")
        return stored


def origin_of(
    config: PretrainedConfig,
    directory: Directory,
    tokenizer: TextTokenizer,
    *,
    dtype: str,
    int8: bool,
) -> dict[str, str]:
    """Return what features depend on, as names and short values for a header.

    The text encoder is not loaded: of the weights in `directory`, the first row of each array is
    read. `dtype` is the dtype of the matrix products.
    """
    weights = hashlib.sha256(json.dumps(to_dict(config.t5)).encode())
    for name, array in sorted(shards.read(epath.Path(directory)).items()):
        if name.startswith("t5/"):
            row = array[(0,) * (len(array.shape) - 1)]
            weights.update(f"{name} {array.shape} {array.dtype}".encode() + row.tobytes())
    words = hashlib.sha256(b"".join(file.read_bytes() for file in tokenizer.files))
    family = family_of(config)
    return {
        "weights": weights.hexdigest()[:16],
        "tokenizer": words.hexdigest()[:16],
        "tokens": str(sizes_of(config).text_tokens),
        "dtype": dtype,
        "kernels": "int8" if int8 else dtype,
        **({"cleaning": family.name} if family.cleaning else {}),
    }


def _length(features: Float32[np.ndarray, "T D"]) -> int:
    """Return the number of rows up to the last row that is not zero."""
    return int(np.flatnonzero(features.any(axis=1)).max(initial=-1)) + 1
