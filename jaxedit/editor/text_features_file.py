"""A file of text features: what one run has computed, every later one reads.

A safetensors file with an array f32[n,D] for each instruction, without zeros at its end. Its header
says which text encoder made them, so that the features of another one are refused.
"""

import hashlib
import json
import os
from collections.abc import Mapping

import numpy as np
from etils import epath

from jaxedit.atomic_write import atomic_write
from jaxedit.checkpoints import safetensors_file, shards
from jaxedit.checkpoints.hub import Directory
from jaxedit.checkpoints.lazy_tensor import LazyTensor
from jaxedit.config import PretrainedConfig, require, to_dict
from jaxedit.data.text_tokenizer import TextTokenizer

ORIGIN = "text_encoder"  # key of the header
PREFIX = "text/"  # of an instruction, as the name of its array


class TextFile:
    """Features by instruction, in a file that grows."""

    def __init__(self, path: str | os.PathLike, origin: dict[str, str]) -> None:
        """Open a file, or the place for a new one.

        Args:
          path: of the file, local or gs://; need not exist.
          origin: of the features, see `origin_of`.

        Raises:
          ConfigError: the features are those of another text encoder; says what differs.
          ValueError: the file is damaged.
          OSError: the folder is missing.
        """
        self._path, self._origin = epath.Path(path).expanduser(), origin
        folder = self._path.parent
        if not folder.is_dir():
            raise FileNotFoundError(f"{self._path}: there is no folder {folder}")
        self._stored = self._read()

    def __contains__(self, words: str) -> bool:
        """Whether the features of an instruction are there."""
        return PREFIX + words in self._stored

    def read(self, words: str) -> np.ndarray:
        """Features f32[n,D] of an instruction that is there; beyond n tokens they are zero."""
        return self._stored[PREFIX + words][...]

    def add(self, features: Mapping[str, np.ndarray]) -> None:
        """Write the file anew with more in it; a reader finds the old file or the new one.

        Args:
          features: by instruction, f32[T,D].

        Raises:
          OSError: the file cannot be written.
        """
        new = {PREFIX + words: array[: _end(array)] for words, array in features.items()}
        arrays = self._read() | new  # of another process too, if it has added some meanwhile
        with atomic_write(self._path) as part:
            safetensors_file.write(part, arrays, metadata={ORIGIN: json.dumps(self._origin)})
        self._stored = self._read()

    def _read(self) -> dict[str, LazyTensor]:
        """The arrays of the file, not read yet; none if there is no file."""
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
    tokens: int,
    dtype: str,
) -> dict[str, str]:
    """What features depend on, without loading the text encoder.

    Args:
      config: the model.
      directory: of its weights, of which the first row of each array is read.
      tokenizer: of the text encoder.
      tokens: T.
      dtype: of the matrix products.

    Returns:
      Names and short values, ready for a header.
    """
    weights = hashlib.sha256(json.dumps(to_dict(config.t5)).encode())
    for name, array in sorted(shards.read(epath.Path(directory)).items()):
        if name.startswith("t5/"):
            row = array[(0,) * (len(array.shape) - 1)]
            weights.update(f"{name} {array.shape} {array.dtype}".encode() + row.tobytes())
    words = hashlib.sha256(b"".join(file.read_bytes() for file in tokenizer.files))
    return {
        "weights": weights.hexdigest()[:16],
        "tokenizer": words.hexdigest()[:16],
        "tokens": str(tokens),
        "dtype": dtype,
    }


def _end(features: np.ndarray) -> int:
    """How many rows of f32[T,D] there are up to the last that is not zero."""
    return int(np.flatnonzero(features.any(axis=1)).max(initial=-1)) + 1
