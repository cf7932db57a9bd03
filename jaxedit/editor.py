"""The editor: pictures and instructions in, edited pictures out."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from PIL import Image

from jaxedit import __version__, assets, compile_cache, tree
from jaxedit.config import PretrainedConfig, SampleConfig, require, require_seed
from jaxedit.convert.pretrained import WEIGHTS, load_pretrained
from jaxedit.data import photo, provenance
from jaxedit.data.text import TextTokenizer
from jaxedit.parallel import sharding
from jaxedit.sampling.varedit import Rows, Sampling, edit_pixels

METHODS = ("varedit",)

Picture = str | os.PathLike | Image.Image | np.ndarray


@dataclasses.dataclass(frozen=True)
class EditResult:
    """One edited picture and how it came about.

    Attributes:
      image: the edit, RGB, at the source's size.
      mask: bool[h,w], True = edited; None for methods that make none.
      diagnostics: times in seconds.
      tokens: per scale bool[n_k,Q].
      settings: all that reproduces the edit, as JSON values.
    """

    image: Image.Image
    mask: np.ndarray | None
    diagnostics: dict[str, Any]
    tokens: tuple[np.ndarray, ...]
    settings: dict[str, Any]


class Editor:
    """A loaded model with its text tokenizer; `edit` and `edit_batch` are all there is to it.

    Every call runs the same compiled program, on `rows_per_device` rows per device. An edit is
    therefore the same bit for bit alone, in any batch, and at any place in it.
    """

    def __init__(
        self,
        config: PretrainedConfig,
        params: tree.Tree,
        tokenizer: TextTokenizer,
        *,
        directory: pathlib.Path,
        name: str | None = None,
        dtype: str | None = None,
        mesh: Mesh | None = None,
        rows_per_device: int = 1,
    ) -> None:
        """Put the weights on the devices; `from_pretrained` is the usual way.

        Args:
          config: the model, of type varedit.
          params: {"bsq": ..., "transformer": ..., "t5": ...}.
          tokenizer: the text tokenizer of the model.
          directory: of the model's files.
          name: recorded in the settings of each edit; None: the directory.
          dtype: float32 or bfloat16; None: float32 on CPU, bfloat16 elsewhere.
          mesh: devices to spread rows (and weights) over; None: one device.
          rows_per_device: more edit a batch faster on an accelerator, but one picture no faster;
            rounding, and with it an occasional bit, differs between values.
        """
        name = name or str(directory)
        dtype = dtype or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
        require(dtype in ("float32", "bfloat16"), f"dtype={dtype!r}: float32 or bfloat16")
        self.config, self.tokenizer, self.name, self.dtype = config, tokenizer, name, dtype
        self.directory, self.mesh = directory, mesh
        require(rows_per_device > 0, f"rows_per_device={rows_per_device}: expected 1 or more")
        self.rows_per_device = rows_per_device
        params = {
            network: tree.cast(params[network], "float32" if network == "bsq" else dtype)
            for network in ("bsq", "transformer", "t5")
        }
        self.params = jax.device_put(params, mesh and sharding.state_shardings(params, mesh))
        self._programs: dict[bool, Callable] = {}

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike = "toy-varedit",
        *,
        dtype: str | None = None,
        mesh: Mesh | None = None,
        rows_per_device: int = 1,
    ) -> "Editor":
        """Load a bundled model or one from a directory, and keep its compiled programs on disk.

        Raises:
          ConfigError: the config cannot work or does not fit the weights.
          ValueError: a file is damaged.
          OSError: no such model; lists the bundled names.
        """
        config, params, directory = load_pretrained(name)
        require(
            config.model_type in METHODS,
            f"{directory}: model_type={config.model_type!r}: expected {', '.join(METHODS)}",
        )
        compile_cache.enable()
        return cls(
            config,
            params,
            TextTokenizer.load(directory),
            directory=directory,
            name=os.fspath(name) if directory.parent == assets.ROOT else str(directory.absolute()),
            dtype=dtype,
            mesh=mesh,
            rows_per_device=rows_per_device,
        )

    @property
    def size(self) -> int:
        """S, the side of the square that the model sees, in pixels."""
        return self.config.varedit.latent_scales[-1][0] * self.config.bsq.stride

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights' file, as it is when first asked for."""
        return provenance.sha256(self.directory / WEIGHTS)

    @property
    def rows(self) -> int:
        """B, how many pictures are edited at once."""
        slices = 1 if self.mesh is None else self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        return slices * self.rows_per_device

    def edit(
        self, image: Picture, instruction: str, *, seed: int = 0, **options: Any
    ) -> EditResult:
        """Edit one picture.

        Args:
          image: path, PIL image, or u8[H,W,3], u8[H,W,4], u8[H,W].
          instruction: what to change, in words.
          seed: another seed gives another edit; equal seeds give equal bits.
          **options: guidance, temperature, top_p, greedy, method; see `edit_batch`.

        Returns:
          The edit, at the picture's own size.

        Raises:
          ValueError: the picture cannot be read, or an argument is out of its range.
          OSError: the picture's file is missing.
        """
        return self.edit_batch([image], [instruction], seed=seed, **options)[0]

    def edit_batch(
        self,
        images: Sequence[Picture],
        instructions: Sequence[str],
        *,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        guidance: float | Sequence[float] | None = None,
        temperature: float | Sequence[float] | None = None,
        top_p: float | None = None,
        greedy: bool | None = None,
        method: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[EditResult]:
        """Edit several pictures, each as `edit` would with its own seed.

        Args:
          images: as for `edit`.
          instructions: one per image.
          seed: row i has the seed `seed + i`.
          seeds: one per image, instead of `seed`.
          guidance: strength of the instruction, one number or one per scale (1 = none).
          temperature: below 1 draws likelier bits, one number or one per scale.
          top_p: nucleus in (0, 1], 1 = off.
          greedy: take the likelier value of each bit; the seed then has no effect.
          method: "varedit", the default.
          progress: called with (rows done, rows in all).

        Returns:
          One result per image. Options left at None are those that came with the weights.

        Raises:
          ValueError: a picture cannot be read, or an argument is out of its range.
          OSError: a picture's file is missing.
        """
        require(
            method is None or method in METHODS,
            f"method={method!r}: expected one of {', '.join(METHODS)} for {self.name}",
        )
        count = len(images)
        require(
            count == len(instructions) and count > 0,
            f"{count} images and {len(instructions)} instructions: expected one for each",
        )
        seeds = [seed + i for i in range(count)] if seeds is None else list(seeds)
        require(
            len(seeds) == count, f"{len(seeds)} seeds for {count} images: expected one for each"
        )
        for one, words in zip(seeds, instructions, strict=True):
            require_seed(one)
            self.check_instruction(words)
        sample = self.sample_settings(guidance, temperature, top_p, greedy)
        self.compile(sample.greedy)
        results: list[EditResult] = []
        for start in range(0, count, self.rows):
            part = slice(start, start + self.rows)
            results += self._edit_rows(images[part], instructions[part], seeds[part], sample)
            if progress:
                progress(len(results), count)
        return results

    def check_instruction(self, instruction: str) -> None:
        """Raise ConfigError unless the model can read `instruction` in full."""
        require(
            isinstance(instruction, str) and bool(instruction.strip()),
            f"instruction={instruction!r}: expected some words",
        )
        tokens, limit = len(self.tokenizer.encode(instruction)), self.config.varedit.max_text_tokens
        require(
            tokens <= limit,
            f"instruction of {tokens} tokens: expected at most {limit}, which {self.name} can read",
        )

    def sample_settings(
        self,
        guidance: float | Sequence[float] | None = None,
        temperature: float | Sequence[float] | None = None,
        top_p: float | None = None,
        greedy: bool | None = None,
    ) -> SampleConfig:
        """The given settings, completed by those that came with the weights, and checked.

        Raises:
          ConfigError: a number is not finite or out of its range.
        """
        given = {"guidance": guidance, "temperature": temperature, "top_p": top_p, "greedy": greedy}
        given = {name: value for name, value in given.items() if value is not None}
        sample = dataclasses.replace(self.config.sample, **given)
        sample.validate(len(self.config.varedit.scales))
        return sample

    def compile(self, greedy: bool = False) -> float:
        """Prepare the program, or find it ready.

        Returns:
          Seconds that it took.
        """
        start = time.perf_counter()
        if greedy not in self._programs:
            T, K = self.config.varedit.max_text_tokens, len(self.config.varedit.scales)
            rows = Rows(
                pixels=np.zeros((self.rows, self.size, self.size, 3), np.uint8),
                ids=np.zeros((self.rows, T), np.int32),
                mask=np.zeros((self.rows, T), bool),
                seeds=np.zeros(self.rows, np.int32),
            )
            ones = np.ones(K, np.float32)
            with jax.set_mesh(self.mesh) if self.mesh else contextlib.nullcontext():
                self._programs[greedy] = edit_pixels.lower(
                    *(self.params, self._place(rows), Sampling(ones, ones, np.float32(1))),
                    config=self.config,
                    greedy=greedy,
                    dtype=self.dtype,
                ).compile()
        return time.perf_counter() - start

    def _place(self, rows: Rows) -> Rows:
        """Rows on the devices."""
        return jax.device_put(rows, self.mesh and sharding.batch_sharding(self.mesh))

    def _edit_rows(
        self,
        images: Sequence[Picture],
        instructions: Sequence[str],
        seeds: Sequence[int],
        sample: SampleConfig,
    ) -> list[EditResult]:
        """Edit at most B pictures; rows that are left over repeat the last one."""
        photos = [_open(image) for image in images]
        ids, mask = self.tokenizer(instructions, self.config.varedit.max_text_tokens)
        squares = np.stack([photo.to_square(p, self.size) for p in photos])
        rows = Rows(squares, ids, mask, np.asarray(seeds, np.int32))
        rows = Rows(*(np.concatenate([x, *[x[-1:]] * (self.rows - len(x))]) for x in rows))
        K = len(self.config.varedit.scales)
        sampling = Sampling(
            np.asarray(sample.per_scale("guidance", K), np.float32),
            np.asarray(sample.per_scale("temperature", K), np.float32),
            np.float32(sample.top_p),
        )
        start = time.perf_counter()
        program = self._programs[sample.greedy]
        pixels, bits = jax.device_get(program(self.params, self._place(rows), sampling))
        seconds = time.perf_counter() - start
        return [
            EditResult(
                image=photo.from_square(pixels[i], photos[i].size),
                mask=None,
                diagnostics={"seconds": seconds},
                tokens=tuple(scale[i] for scale in bits),
                settings=self._settings(instructions[i], seeds[i], sample),
            )
            for i in range(len(photos))
        ]

    def _settings(self, instruction: str, seed: int, sample: SampleConfig) -> dict[str, Any]:
        return {
            "model": self.name,
            "method": METHODS[0],
            "instruction": instruction,
            "seed": int(seed),
            **dataclasses.asdict(sample),
            "dtype": self.dtype,
            "rows_per_device": self.rows_per_device,
            "backend": jax.default_backend(),
            "versions": {"jaxedit": __version__, "jax": jax.__version__},
        }


def _open(image: Picture) -> Image.Image:
    return photo.read(image) if isinstance(image, str | os.PathLike) else photo.to_rgb(image)
