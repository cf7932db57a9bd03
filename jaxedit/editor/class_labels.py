"""Class numbers of models that draw classes: what `TextFeatures` is for models that read text."""

import os
from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh

from jaxedit import tree
from jaxedit.checkpoints.hub import Directory
from jaxedit.config import PretrainedConfig, require
from jaxedit.data.text_tokenizer import TextTokenizer


class ClassLabels:
    """Reads class numbers that are written as text. There is nothing to load or to compile."""

    def __init__(
        self,
        config: PretrainedConfig,
        params: tree.Tree | None,
        tokenizer: TextTokenizer | None,
        *,
        directory: Directory,
        dtype: str,
        mesh: Mesh | None = None,
        on_host: bool = False,
        file: str | os.PathLike | None = None,
        int8: bool = False,
    ) -> None:
        """Take the arguments of `TextFeatures`.

        Raises:
          ConfigError: an argument is about the text encoder, which such a model lacks.
        """
        for name, is_given in (
            ("text_on_host", on_host),
            ("text_features", file is not None),
            ("int8=t5", int8),
        ):
            require(not is_given, f"{name}: a model that draws classes has no text encoder")
        self._classes = config.editar.classes

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return classes i32[B] of B texts, and a mask bool[B] that is True."""
        return np.array([int(text) for text in texts], np.int32), np.ones(len(texts), bool)

    def prepare(self, texts: Sequence[str]) -> None:
        """Do nothing: there are no features to keep."""

    def check(self, text: str, *, strict: bool) -> None:
        """Raise ConfigError unless `text` is the number of a class."""
        is_class = text.isascii() and text.isdigit() and int(text) < self._classes
        last = self._classes - 1
        require(is_class, f"prompt={text[:40]!r}: expected the number of a class, 0 to {last}")

    def compile(self) -> None:
        """Do nothing: there is no program."""

    def zeros(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what `__call__` returns, for the first class."""
        return np.zeros(rows, np.int32), np.ones(rows, bool)
