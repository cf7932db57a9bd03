"""Instructions to token ids, by the tokenizer files that lie beside the text encoder's weights."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath

from jaxedit import assets

FILES = ("tokenizer.json", "spiece.model")  # either one is enough
EXTRA_FILES = ("tokenizer_config.json", "special_tokens_map.json")


class TextTokenizer:
    """A Hugging Face tokenizer with the padding that the text encoder expects.

    Calls leave the tokenizer's own state alone, so threads may share one instance.
    """

    def __init__(
        self, tokenizer: Any, directory: epath.Path, clean: Callable[[str], str] = str
    ) -> None:
        """Wrap a loaded tokenizer; `load` is the usual way."""
        self._tokenizer = tokenizer
        self.directory, self._clean = directory, clean

    @classmethod
    def load(cls, name: str | os.PathLike, clean: Callable[[str], str] = str) -> "TextTokenizer":
        """Read the tokenizer of a bundled name or a directory, without torch.

        Args:
          name: bundled name or directory, local or gs://.
          clean: what is done to each text first, for text encoders that were fed so.

        Raises:
          FileNotFoundError: no such name or directory, or no tokenizer file in it.
          ValueError: the files are damaged, or `spiece.model` lacks the packages that read it.
        """
        is_remote = "://" in os.fspath(name)
        directory = assets.remote(name) if is_remote else assets.locate(name, FILES)
        if not _files_in(directory):
            raise FileNotFoundError(f"{directory}: expected {' or '.join(FILES)} in it")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # no "PyTorch was not found"
        from transformers import AutoTokenizer

        try:
            with _local(directory) as folder:
                tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers raises many kinds, some of them misleading
            raise ValueError(f"{directory}: {_explain(directory, error)}") from error
        return cls(tokenizer, directory, clean)

    @property
    def vocab_size(self) -> int:
        """V: every id is below it."""
        return len(self._tokenizer)

    @property
    def files(self) -> list[epath.Path]:
        """The files that a copy of this tokenizer consists of."""
        return _files_in(self.directory)

    def encode(self, text: str) -> list[int]:
        """Ids of one text with its closing </s>, of whatever length."""
        return self._tokenizer(self._clean(text))["input_ids"]

    def __call__(self, texts: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids padded on the right, or cut so that the closing </s> stays.

        Args:
          texts: B instructions.
          length: T.

        Returns:
          (ids i32[B,T], mask bool[B,T]); the mask is False at padding.
        """
        ids = np.full((len(texts), length), self._tokenizer.pad_token_id, np.int32)
        mask = np.zeros((len(texts), length), bool)
        for row, text in enumerate(texts):
            tokens = self.encode(text)
            if len(tokens) > length:
                tokens = [*tokens[: length - 1], self._tokenizer.eos_token_id]
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = True
        return ids, mask


def _files_in(directory: epath.Path) -> list[epath.Path]:
    paths = [directory / name for name in FILES + EXTRA_FILES]
    return [path for path in paths if path.is_file()]


@contextlib.contextmanager
def _local(directory: epath.Path) -> Iterator[str]:
    """A directory of this machine with the tokenizer's files, for as long as they are read."""
    if isinstance(directory, pathlib.Path):
        yield str(directory)
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in _files_in(directory):
            (pathlib.Path(folder) / file.name).write_bytes(file.read_bytes())
        yield folder


def _explain(directory: epath.Path, error: Exception) -> str:
    if not (directory / "tokenizer.json").is_file():
        return (
            "spiece.model was not read: it needs the packages sentencepiece and protobuf "
            f"(a tokenizer.json needs neither); cause: {str(error).splitlines()[0]}"
        )
    return f"tokenizer.json was not read: {str(error).splitlines()[0]}"
