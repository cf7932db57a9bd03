"""The base of all pipelines: a model family's programs, which make B pictures at a time."""

import abc
import logging
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float32, Int32, UInt8

from jaxedit import tree
from jaxedit.config import PretrainedConfig, family_of
from jaxedit.host_memory import return_free_memory
from jaxedit.sharding import rules

log = logging.getLogger(__name__)

KEPT = 16  # structures of settings whose programs are kept; 35 of toy-varedit took 2 GB on a CPU
SURE = 25.0  # dB; a reconstruction below does not show where the source is kept
Progress = Callable[[int, int], None]  # called with (steps done, steps in total)
# The bits of each scale, or one array of token ids.
Tokens = tuple[Bool[np.ndarray, "_ Q"] | Int32[np.ndarray, "h w"], ...]


class Batch(NamedTuple):
    """The inputs of pictures that are made together.

    Attributes:
      pixels: the source pictures; None if a picture is drawn from its text alone.
      texts: B instructions, prompts or class numbers.
      seeds: random seed of each picture.
      edit_mask: True where a source may change; None if there are no sources.
    """

    pixels: UInt8[np.ndarray, "B S S 3"] | None
    texts: Sequence[str]
    seeds: Int32[np.ndarray, " B"]
    edit_mask: Bool[np.ndarray, "B S S"] | None


class Output(NamedTuple):
    """A picture as a pipeline returns it: a square of the model's size.

    Attributes:
      pixels: of the picture.
      tokens: of the picture.
      mask: edit mask that the method found, True = edited; None for methods that find none.
      maps: measurements of each token, by name.
      pictures: intermediate pictures, by name.
      numbers: measurements of the whole picture, by name.
    """

    pixels: UInt8[np.ndarray, "S S 3"]
    tokens: Tokens
    mask: Bool[np.ndarray, "h w"] | None = None
    maps: dict[str, Float32[np.ndarray, "h w"]] = {}
    pictures: dict[str, UInt8[np.ndarray, "S S 3"]] = {}
    numbers: dict[str, float] = {}


class Pipeline(abc.ABC):
    """The model behind an `Editor` or a `Generator`; settings are what `settings_of` returns.

    Attributes:
      size: S, side of the square that the model reads or draws, in pixels.
      grid: h and w, tokens on a side of the square; of VAREdit at the last scale.
      params: the networks on the devices, without the text encoder.
    """

    size: int
    grid: int
    params: Any

    def __init__(
        self,
        config: PretrainedConfig,
        params: tree.Tree,
        text: Any,
        *,
        dtype: str,
        mesh: Mesh | None,
        rows: int,
        int8: bool,
    ) -> None:
        """Put the networks on the devices.

        Args:
          text: the model's `TextFeatures` or `ClassLabels`.
          dtype: of the transformer, see `config.precision`.
          mesh: devices to spread rows (and weights) over; None: one device.
          rows: B.
          int8: keep the transformer's large kernels as `Int8`.
        """
        self.config, self.text, self.dtype = config, text, dtype
        self.mesh, self.rows = mesh, rows
        self.size, self.grid = family_of(config).square(config)
        self._ready: set[Any] = set()  # structures whose programs are compiled
        self._warned = False
        self._load(params, int8=int8)

    @abc.abstractmethod
    def _load(self, params: tree.Tree, *, int8: bool) -> None:
        """Set `params`."""

    @property
    @abc.abstractmethod
    def tokenizer(self) -> tree.Tree:
        """Return the parameters of the image tokenizer."""

    def is_ready(self, settings: tuple[Any, ...]) -> bool:
        """Return whether the programs for these settings are compiled."""
        return self.structure(settings) in self._ready

    def compile(self, settings: tuple[Any, ...]) -> None:
        """Compile the programs for these settings, unless they are ready.

        Settings without end, as clients of a server may choose them, must not fill the memory:
        there is room for the programs of `KEPT` structures, and then all make room at once.
        """
        if self.is_ready(settings):
            return
        if len(self._ready) >= KEPT:
            self._forget()
        self._compile(settings)
        self._ready.add(self.structure(settings))

    def _forget(self) -> None:
        """Drop all programs; jitted functions drop them only together."""
        self._ready.clear()
        jax.clear_caches()
        return_free_memory()

    @abc.abstractmethod
    def structure(self, settings: tuple[Any, ...]) -> Any:
        """Return the part of the settings that programs depend on, hashable."""

    @abc.abstractmethod
    def _compile(self, settings: tuple[Any, ...]) -> None:
        """Compile the programs."""

    @abc.abstractmethod
    def run(
        self, batch: Batch, settings: tuple[Any, ...], progress: Progress | None
    ) -> list[Output]:
        """Make B pictures, with programs that are compiled already."""

    def _blank_sources(self) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
        """Return black sources and full edit masks to compile with; None if the model reads none.

        The same program edits pictures with and without a mask.
        """
        if family_of(self.config).purpose != "edit":
            return None, None
        shape = (self.rows, self.size, self.size)
        return np.zeros((*shape, 3), np.uint8), np.ones(shape, bool)

    def _judge(
        self, made: list[Output], reconstructions: list[Output], pixels: np.ndarray, prompt: str
    ) -> list[Output]:
        """Return edits by ERec with the PSNR of their reconstructions; warn once if it is low.

        Args:
          made: the edits.
          reconstructions: outputs with a picture "reconstruction".
          pixels: u8[B,S,S,3], the sources.
          prompt: instruction of the reconstruction.
        """
        pictures = np.stack([output.pictures["reconstruction"] for output in reconstructions])
        error = np.mean(np.square(pictures.astype(np.float32) - pixels), axis=(1, 2, 3))
        psnr = 10 * np.log10(255**2 / np.maximum(error, 1e-3))
        if psnr.min() < SURE and not self._warned:
            self._warned = True
            log.warning(
                "the source reconstructed by %r has a PSNR of %.1f dB, expected at least %.0f: the "
                "model may not follow recon_prompt, and then the edit mask means little",
                prompt,
                psnr.min(),
                SURE,
            )
        return [
            output._replace(numbers={"reconstruction_psnr": float(value)})
            for output, value in zip(made, psnr, strict=True)
        ]

    def _place(self, arrays: Any) -> Any:
        """Put arrays [B,...] on the devices, their rows spread over the mesh."""
        return jax.device_put(arrays, self.mesh and rules.batch_sharding(self.mesh))

    def _split(self, outputs: Any) -> list[Output]:
        """Fetch an `Output` whose arrays have an axis B in front; return each picture's part."""
        fetched = jax.device_get(outputs)
        return [jax.tree.map(operator.itemgetter(i), fetched) for i in range(self.rows)]
