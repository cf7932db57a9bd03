"""The conversion of instructions to token ids by the tokenizer of the text encoder."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32

from jaxedit import assets
from jaxedit.assets import AnyPath

FILES = ("tokenizer.json", "spiece.model")  # either file is sufficient
EXTRA_FILES = ("tokenizer_config.json", "special_tokens_map.json")


class TextTokenizer:
    """A Hugging Face tokenizer with the padding that the text encoder expects.

    Calls do not change the wrapped tokenizer's state, so that threads may share an instance.
    """

    def __init__(
        self, tokenizer: Any, directory: AnyPath, clean: Callable[[str], str] = str
    ) -> None:
        """Wrap a loaded tokenizer; use `load` to create an instance."""
        self._tokenizer = tokenizer
        self.directory, self._clean = directory, clean

    @classmethod
    def load(cls, name: str | os.PathLike, clean: Callable[[str], str] = str) -> "TextTokenizer":
        """Read the tokenizer of a bundled name or a directory, without torch.

        Args:
          name: bundled name or directory, local or gs://.
          clean: applied to each text first, as in the text encoder's training.

        Raises:
          FileNotFoundError: no such name or directory, or the directory has no tokenizer file.
          ValueError: the files are damaged, or the packages that read `spiece.model` are missing.
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
        """Return V; every id is smaller."""
        return len(self._tokenizer)

    @property
    def files(self) -> list[AnyPath]:
        """Return the files to copy with this tokenizer."""
        return _files_in(self.directory)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text of any length, with its closing </s>."""
        return self._tokenizer(self._clean(text))["input_ids"]

    def __call__(
        self, texts: Sequence[str], length: int
    ) -> tuple[Int32[np.ndarray, "B {length}"], Bool[np.ndarray, "B {length}"]]:
        """Return token ids, padded on the right or truncated before the closing </s>, and a mask.

        Args:
          length: T, tokens per instruction.

        Returns:
          The ids, and a mask that is False at padding.
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


def _files_in(directory: AnyPath) -> list[AnyPath]:
    paths = [directory / name for name in FILES + EXTRA_FILES]
    return [path for path in paths if path.is_file()]


@contextlib.contextmanager
def _local(directory: AnyPath) -> Iterator[str]:
    """Provide a local directory with the tokenizer's files while they are read."""
    if isinstance(directory, pathlib.Path):
        yield str(directory)
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in _files_in(directory):
            (pathlib.Path(folder) / file.name).write_bytes(file.read_bytes())
        yield folder


def _explain(directory: AnyPath, error: Exception) -> str:
    if not (directory / "tokenizer.json").is_file():
        return (
            "spiece.model was not read: it needs the packages sentencepiece and protobuf "
            f"(a tokenizer.json needs neither); cause: {str(error).splitlines()[0]}"
        )
    return f"tokenizer.json was not read: {str(error).splitlines()[0]}"
