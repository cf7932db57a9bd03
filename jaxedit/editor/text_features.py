"""Features of instructions: computed once each, on the devices or the host, or read from a file."""

import functools
import logging
import os
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from jaxedit import tree
from jaxedit.checkpoints.hub import Directory
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.config import ConfigError, PretrainedConfig, require
from jaxedit.config.families import family_of, sizes_of
from jaxedit.data import prompts
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.editor.text_features_file import TextFile, origin_of
from jaxedit.ops.int8 import quantize_if_kernel
from jaxedit.sampling.text_encoder import encode_text
from jaxedit.sharding import rules

log = logging.getLogger(__name__)

KEPT = 32  # features that are kept in memory, of the texts used last; 4 MB each with T5-XL
ADDED = 256  # texts whose features are added to a file at once


class TextFeatures:
    """The text encoder behind `Editor`, with a memory.

    A text is encoded alone and by the same program every time: its features are the same bit for
    bit in any batch. They wait in the host's memory. With a file, the encoder's weights are loaded
    only when a text is not in it.
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
          config: of an editor.
          params: of the text encoder; None: they are loaded from `directory` when needed.
          tokenizer: of the text encoder.
          directory: of the model's files.
          dtype: of weights and matrix products, see `config.precision`.
          mesh: devices to spread the weights over; None: one device.
          on_host: weights and program stay on the host's CPU instead.
          file: features of earlier runs, to which new ones are added; need not exist.
          int8: the kernels of the blocks become `Int8`.

        Raises:
          ConfigError: there is no CPU backend, or the file is of another text encoder.
          ValueError: the file is damaged.
        """
        self.tokenizer, self.length = tokenizer, sizes_of(config).text_tokens
        self._config, self._directory, self._dtype, self._mesh = config, directory, dtype, mesh
        self._host = host_device() if on_host else None
        self._finish = quantize_if_kernel if int8 else None
        self._params = None if params is None else self._place(params)
        self._program: jax.stages.Compiled | None = None
        # EditAR attends to padding; where it is never read it is zero, and not in the file.
        self._family = family_of(config)
        self._file = None
        if file is not None:
            origin = origin_of(config, directory, tokenizer, tokens=self.length, dtype=dtype)
            origin["kernels"] = "int8" if int8 else dtype
            if self._family.cleaning:
                origin["cleaning"] = self._family.name
            self._file = TextFile(file, origin)
        self._features = functools.lru_cache(KEPT)(self._find)
        self._said_cut: set[str] = set()

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Features f32[B,T,D] and mask bool[B,T] of B texts; new ones are added to the file."""
        self.prepare(texts)
        _, mask = self.tokenizer(texts, self.length)
        return np.stack([self._features(words) for words in texts]), mask

    def prepare(self, texts: Sequence[str]) -> None:
        """Add to the file what it lacks of these texts; without a file do nothing.

        Raises:
          OSError: the file cannot be written.
        """
        if self._file is None:
            return
        missing = [words for words in dict.fromkeys(texts) if words not in self._file]
        for start in range(0, len(missing), ADDED):
            part = missing[start : start + ADDED]
            self._file.add({words: self._encode(words) for words in part})

    def check(self, words: str, *, strict: bool) -> None:
        """Say, once for each text, how much of a text that is too long is read.

        Like the releases, the tokenizer cuts its end and puts </s> there.

        Raises:
          ConfigError: the text is too long, and `strict`.
        """
        tokens = len(self.tokenizer.encode(words))
        if tokens <= self.length:
            return
        said = f"instruction {words[:40]!r}... has {tokens} tokens"
        require(not strict, f"{said}: expected at most {self.length}")
        if words not in self._said_cut:
            self._said_cut.add(words)
            log.warning("%s: only the first %d are read", said, self.length - 1)

    def compile(self) -> None:
        """Load the weights and compile, unless a file may make both needless."""
        if self._file is None:
            self._ready()

    def zeros(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """What `__call__` returns, for no text at all."""
        width = self._config.t5.width
        features = np.zeros((rows, self.length, width), np.float32)
        return features, np.zeros((rows, self.length), bool)

    def _find(self, words: str) -> np.ndarray:
        """Features f32[T,D] of one text, from the file if they are there."""
        if self._file is None or words not in self._file:
            return self._encode(words)
        found = self._file.read(words)
        return np.pad(found, ((0, self.length - len(found)), (0, 0)))

    def _encode(self, words: str) -> np.ndarray:
        ids, mask = self.tokenizer([words], self.length)
        features = np.array(self._ready()(self._params, ids, mask)[0])
        if not self._family.reads_padding:
            features[~mask[0]] = 0
        return features

    def _ready(self) -> jax.stages.Compiled:
        """The compiled program, its weights loaded."""
        if self._params is None:
            self._params = self._place(open_params(self._directory, ["t5"])[1]["t5"])
        if self._program is None:
            blank = np.zeros((1, self.length), np.int32)
            self._program = encode_text.lower(
                *(self._params, blank, blank > 0), config=self._config.t5, dtype=self._dtype
            ).compile()
        return self._program

    def _place(self, params: tree.Tree) -> tree.Tree:
        params = {"t5": tree.cast(params, self._dtype)}
        host = self._host and jax.sharding.SingleDeviceSharding(self._host)
        return rules.place(params, host or self._mesh, self._finish)["t5"]


def require_words(instruction: str, name: str = "instruction") -> None:
    """Raise ConfigError, which calls the text `name`, unless something can be seen in it."""
    is_seen = isinstance(instruction, str) and any(
        letter.isprintable() and not letter.isspace() for letter in instruction
    )
    require(is_seen, f"{name}={instruction!r}: expected some words")
    try:
        instruction.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name}={instruction!r}: half a surrogate pair in it") from error


def prompt_of(config: PretrainedConfig, instruction: str, task: str | None) -> str:
    """What the text encoder reads: the instruction, or the prompt of a translation task.

    Raises:
      ConfigError: no such task, or the model has none.
    """
    if task is None:
        return instruction
    require(
        family_of(config).translates,
        f"task={task!r}: expected EditAR's weights, found {config.model_type}",
    )
    return prompts.prompt(task, instruction, sizes_of(config).prompts)


def host_device() -> jax.Device:
    """The host's CPU as a device.

    Raises:
      ConfigError: JAX_PLATFORMS hides it.
    """
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"text_on_host: expected cpu among JAX_PLATFORMS: {reason}") from error
