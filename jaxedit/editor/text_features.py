"""The input that a transformer gets for a text: the text encoder's features, or a class number."""

import functools
import logging
import math
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float32, Int32

from jaxedit import tree
from jaxedit.checkpoints.hub import Directory
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.config import ConfigError, PretrainedConfig, require
from jaxedit.config.families import family_of, sizes_of
from jaxedit.data import prompts
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.editor.text_features_file import TextFeaturesFile, origin_of
from jaxedit.ops.int8 import quantize_if_kernel
from jaxedit.sampling.text_encoder import encode_text
from jaxedit.sharding import rules

log = logging.getLogger(__name__)

KEPT = 32  # texts, those used last, whose features stay in memory; 4 MB each with T5-XL
ADDED = 256  # texts whose features are added to a file at once
BUCKET = 128  # texts are padded to a multiple of so many tokens before they are encoded

Features = Float32[np.ndarray, "B T D"]
Mask = Bool[np.ndarray, "B T"]


class TextFeatures:
    """The text encoder of a model, with a memory.

    Each text is encoded alone, by a program for its own length: its features are equal bit for bit
    in every batch. They are kept in the host's memory. With a file of features, the encoder's
    weights are loaded only for a text that the file lacks.
    """

    def __init__(
        self,
        config: PretrainedConfig,
        params: tree.Tree | None,
        tokenizer: TextTokenizer,
        *,
        directory: Directory,
        dtype: str,
        mesh: Mesh | None = None,
        on_host: bool = False,
        file: str | os.PathLike | None = None,
        int8: bool = False,
    ) -> None:
        """Put the weights where they will be used.

        Args:
          config: the model.
          params: of the text encoder; None: loaded from `directory` when needed.
          tokenizer: the text encoder's tokenizer.
          directory: the model's files.
          dtype: of weights and matrix products, see `config.precision`.
          mesh: devices to spread the weights over; None: one device.
          on_host: keep weights and program on the host's CPU instead.
          file: features of earlier runs, to which new features are added; need not exist.
          int8: keep the kernels of the blocks as `Int8`.

        Raises:
          ConfigError: there is no CPU backend, or the file belongs to another text encoder.
          ValueError: the file is damaged.
        """
        self.tokenizer, self.length = tokenizer, sizes_of(config).text_tokens
        self._config, self._directory, self._dtype, self._mesh = config, directory, dtype, mesh
        self._host = host_device() if on_host else None
        self._finish = quantize_if_kernel if int8 else None
        self._params = None if params is None else self._place(params)
        self._programs: dict[int, jax.stages.Compiled] = {}
        self._file = None
        if file is not None:
            origin = origin_of(config, directory, tokenizer, dtype=dtype, int8=int8)
            self._file = TextFeaturesFile(file, origin)
        self._features = functools.lru_cache(KEPT)(self._find)
        self._warned: set[str] = set()

    def __call__(self, texts: Sequence[str]) -> tuple[Features, Mask]:
        """Return the features and the mask (True at tokens) of texts; add new ones to the file."""
        self.prepare(texts)
        _, mask = self.tokenizer(texts, self.length)
        return np.stack([self._features(text) for text in texts]), mask

    def prepare(self, texts: Sequence[str]) -> None:
        """Add the features that are missing to the file, if there is one.

        Raises:
          OSError: the file cannot be written.
        """
        if self._file is None:
            return
        missing = [text for text in dict.fromkeys(texts) if text not in self._file]
        for start in range(0, len(missing), ADDED):
            part = missing[start : start + ADDED]
            self._file.add({text: self._encode(text) for text in part})

    def check(self, text: str, *, strict: bool) -> None:
        """Warn, once for each text, if only the beginning of a text is read.

        Like the releases, the tokenizer truncates the text before its closing </s>.

        Raises:
          ConfigError: the text is too long, and `strict`.
        """
        tokens = len(self.tokenizer.encode(text))
        if tokens <= self.length:
            return
        message = f"text {text[:40]!r}... has {tokens} tokens"
        require(not strict, f"{message}: expected at most {self.length}")
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s: only the first %d are read", message, self.length - 1)

    def compile(self) -> None:
        """Load the weights and compile, unless there is a file, which may make both needless."""
        if self._file is None:
            self._ready(self._padded(1))

    def zeros(self, rows: int) -> tuple[Features, Mask]:
        """Return features and mask of empty texts, to compile with."""
        features = np.zeros((rows, self.length, self._config.t5.width), np.float32)
        return features, np.zeros((rows, self.length), bool)

    def _find(self, text: str) -> Float32[np.ndarray, "T D"]:
        """Return the features of a text, from the file if they are there."""
        if self._file is None or text not in self._file:
            return self._encode(text)
        return self._pad(self._file.read(text))

    def _pad(self, features: Float32[np.ndarray, "_ D"]) -> Float32[np.ndarray, "T D"]:
        return np.pad(features, ((0, self.length - len(features)), (0, 0)))

    def _encode(self, text: str) -> Float32[np.ndarray, "T D"]:
        ids, mask = self.tokenizer([text], self.length)
        n = self._padded(int(mask.sum()))
        ids, mask = ids[:, :n], mask[:, :n]
        features = np.array(self._ready(n)(self._params, ids, mask)[0])
        # EditAR attends to padding. Elsewhere the padding is zero, and not written to files.
        if not family_of(self._config).reads_padding:
            features[~mask[0]] = 0
        return self._pad(features)

    def _padded(self, tokens: int) -> int:
        """Return the length to which a text is padded before it is encoded."""
        if family_of(self._config).reads_padding:
            return self.length
        return min(self.length, BUCKET * math.ceil(tokens / BUCKET))

    def _ready(self, length: int) -> jax.stages.Compiled:
        """Return the compiled program for texts of a padded length, once the weights are loaded."""
        if self._params is None:
            self._params = self._place(open_params(self._directory, ["t5"])[1]["t5"])
        if length not in self._programs:
            ids = np.zeros((1, length), np.int32)
            lowered = encode_text.lower(
                self._params, ids, ids > 0, config=self._config.t5, dtype=self._dtype
            )
            self._programs[length] = lowered.compile()
        return self._programs[length]

    def _place(self, params: tree.Tree) -> tree.Tree:
        params = {"t5": tree.cast(params, self._dtype)}  # sharding rules read the whole path
        host = self._host and jax.sharding.SingleDeviceSharding(self._host)
        return rules.place(params, host or self._mesh, self._finish)["t5"]


class ClassLabels:
    """The numbers of classes, in place of `TextFeatures`, for models that draw classes."""

    def __init__(
        self,
        config: PretrainedConfig,
        params: tree.Tree | None,
        tokenizer: TextTokenizer | None,
        *,
        on_host: bool = False,
        file: str | os.PathLike | None = None,
        int8: bool = False,
        **unused: Any,
    ) -> None:
        """Take the arguments of `TextFeatures`.

        Raises:
          ConfigError: an argument is about the text encoder, which such a model lacks.
        """
        given = {"text_on_host": on_host, "text_features": file is not None, "int8=t5": int8}
        for name, is_given in given.items():
            require(not is_given, f"{name}: a model that draws classes has no text encoder")
        self._classes = config.editar.classes

    def __call__(
        self, texts: Sequence[str]
    ) -> tuple[Int32[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """Return the classes that texts name, and a mask that is True."""
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

    def zeros(self, rows: int) -> tuple[Int32[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """Return the first class and its mask, to compile with."""
        return np.zeros(rows, np.int32), np.ones(rows, bool)


def prompt_of(config: PretrainedConfig, instruction: str, task: str | None) -> str:
    """Return the text for the text encoder: the instruction, or the prompt of a task.

    Raises:
      ConfigError: there is no such task, or the model has no tasks.
    """
    if task is None:
        return instruction
    require(
        family_of(config).translates,
        f"task={task!r}: expected EditAR's weights, found {config.model_type}",
    )
    return prompts.prompt(task, instruction, sizes_of(config).prompts)


def host_device() -> jax.Device:
    """Return the host's CPU as a device.

    Raises:
      ConfigError: JAX_PLATFORMS hides it.
    """
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"text_on_host: expected cpu among JAX_PLATFORMS: {reason}") from error
