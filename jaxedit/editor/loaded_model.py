"""The base of `Editor` and `Generator`: a model on the devices, with its text encoder."""

import functools
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, UInt8

from jaxedit import __version__, assets, compile_cache, compile_times, tree
from jaxedit.checkpoints import shards
from jaxedit.checkpoints.hub import Directory
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.config import (
    PretrainedConfig,
    as_options,
    require,
    require_int8,
    require_seed,
    require_words,
    settings_of,
)
from jaxedit.config.families import family_of, require_purpose
from jaxedit.config.family import load
from jaxedit.config.precision import checked
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.editor import edit_mesh, provenance
from jaxedit.editor.edit_memory import Plan
from jaxedit.editor.pipeline import Batch, Output, Progress
from jaxedit.editor.text_features import prompt_of
from jaxedit.interactive import inform

log = logging.getLogger(__name__)

Model = TypeVar("Model", bound="LoadedModel")
# pictures and edit masks (True = may change); None if there are no sources
Sources = tuple[UInt8[np.ndarray, "n S S 3"] | None, Bool[np.ndarray, "n S S"] | None]


class LoadedModel:
    """A loaded model with its text tokenizer.

    Every call runs the same compiled programs, on `rows_per_device` rows per device. A picture is
    therefore the same bit for bit alone, in any batch, and at any place in the batch.
    """

    purpose: ClassVar[Literal["edit", "draw"]]
    text_name: ClassVar[str]  # of a text, in messages

    def __init__(
        self,
        config: PretrainedConfig,
        params: tree.Tree,
        tokenizer: TextTokenizer | None,
        *,
        directory: Directory,
        name: str | None = None,
        dtype: str | None = None,
        t5_dtype: str | None = None,
        mesh: Mesh | None = None,
        rows_per_device: int = 1,
        text_on_host: bool = False,
        text_features: str | os.PathLike | None = None,
        int8: Sequence[str] = (),
    ) -> None:
        """Put the weights on the devices; `from_pretrained` is the usual way.

        Args:
          config: the model, of a family for this class's purpose.
          params: the networks, see `checkpoints.pretrained`, in memory or still in their files;
            without the text encoder, which is then loaded from `directory` when needed.
          tokenizer: the model's text tokenizer; None for models that read no text.
          directory: the model's files.
          name: recorded in the settings of each picture; None: the directory.
          dtype: of the transformer, float32 or bfloat16, see `config.precision`; None: float32 on
            CPU, bfloat16 elsewhere.
          t5_dtype: of the text encoder, float32, bfloat16 or float16; None: float32, or float16
            if `dtype` is bfloat16.
          mesh: devices to spread rows over (axis `data`) and the weights (axis `tensor`, whose size
            is one of `edit_mesh.tensor_sizes`); None: one device.
          rows_per_device: more rows make a batch faster on an accelerator, but not a picture alone;
            rounding, and with it an occasional token, differs between values.
          text_on_host: keep the text encoder on the host's CPU, out of the devices' memory.
          text_features: file of the texts' features; missing features are computed and added. The
            text encoder is not loaded while no features are missing.
          int8: networks, "t5" and "transformer", whose large kernels are kept as 8-bit integers.
        """
        require_purpose(config, self.purpose)
        dtype = dtype or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
        self.dtype, self.t5_dtype = checked(dtype, t5_dtype)
        self.config, self.tokenizer, self.name = config, tokenizer, name or str(directory)
        self.directory, self.text_on_host = directory, text_on_host
        self._fingerprint = functools.cache(functools.partial(fingerprint_of, directory))
        require(rows_per_device > 0, f"rows_per_device={rows_per_device}: expected 1 or more")
        require_int8(int8)
        self.rows_per_device, self.int8 = rows_per_device, tuple(int8)
        self.tensor = 1 if mesh is None else mesh.shape["tensor"]
        edit_mesh.require_tensor(config, self.tensor)
        slices = 1 if mesh is None else mesh.shape["data"] * mesh.shape["fsdp"]
        self.rows = slices * rows_per_device  # B, the pictures made at once
        self._place(params, mesh, on_host=text_on_host, file=text_features)

    @classmethod
    def from_pretrained(
        cls: type[Model],
        name: str | os.PathLike,
        *,
        mesh: Mesh | str | None = None,
        **options: Any,
    ) -> Model:
        """Load a model straight onto the devices; keep its compiled programs on disk.

        Args:
          name: bundled name, directory, gs:// path, official name, or "org/name" on the Hub.
          mesh: "one": as few devices of this process as hold the weights for a picture; "all": all
            devices, in groups that each hold the weights; sizes such as "data=2,tensor=4"; or see
            `__init__`.
          **options: see `__init__`.

        Raises:
          ConfigError: the config cannot work, does not fit the weights, or has another purpose; or
            the mesh does not fit the model or the devices.
          ValueError: a file is damaged.
          OSError: there is no such model; the message says what to fetch from where.
        """
        config, params, directory = open_params(ensure_converted(name))
        require_purpose(config, cls.purpose)
        if isinstance(mesh, str):
            settings = settings_of(config, None, {})
            mesh = edit_mesh.mesh_of(mesh, config, settings, Plan.of(**options))
        if options.get("text_on_host") or options.get("text_features"):
            params.pop("t5", None)  # loaded when needed
        compile_cache.enable()
        is_path = os.path.isdir(name) and directory.parent != assets.ROOT
        return cls(
            config,
            params,
            tokenizer_of(config, directory),
            directory=directory,
            name=str(directory.absolute()) if is_path else os.fspath(name),
            mesh=mesh,
            **options,
        )

    def _place(
        self,
        params: tree.Tree,
        mesh: Mesh | None,
        *,
        on_host: bool,
        file: str | os.PathLike | None,
    ) -> None:
        """Put the text encoder and the networks on their devices."""
        family = family_of(self.config)
        self.text = load(family.condition)(
            self.config,
            params.get("t5"),
            self.tokenizer,
            directory=self.directory,
            dtype=self.t5_dtype,
            mesh=mesh,
            on_host=on_host,
            file=file,
            int8="t5" in self.int8,
        )
        self.pipeline = load(family.pipeline)(
            self.config,
            params,
            self.text,
            dtype=self.dtype,
            mesh=mesh,
            rows=self.rows,
            int8="transformer" in self.int8,
        )

    @property
    def size(self) -> int:
        """Return S, the side of the square that the model reads or draws, in pixels."""
        return self.pipeline.size

    @property
    def params(self) -> Any:
        """Return the weights on the devices, without the text encoder."""
        return self.pipeline.params

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the weights' files; the first call takes a while."""
        return self._fingerprint()

    def settings(self, method: str | None = None, **options: Any) -> tuple[Any, ...]:
        """Return a method's settings, changed by the given options; see `config.settings_of`."""
        return settings_of(self.config, method, options)

    def compile(self, method: str | None = None, **options: Any) -> float:
        """Compile the programs for a method and its options, unless they are ready.

        Returns:
          The seconds that this took.
        """
        start = time.perf_counter()
        self._compile(self.settings(method, **options))
        return time.perf_counter() - start

    def programs(self, method: str | None = None, **options: Any) -> str:
        """Return the name of the programs for a method and its options; see `compile_times`."""
        return self._programs(self.settings(method, **options))

    def check_text(self, text: str, task: str | None = None, *, strict: bool = False) -> None:
        """Raise ConfigError unless the model can read a text, in full if `strict`."""
        require_words(text, self.text_name)
        self.text.check(prompt_of(self.config, text, task), strict=strict)

    def _compile(self, settings: tuple[Any, ...]) -> None:
        if self.pipeline.is_ready(settings):
            return
        programs = self._programs(settings)
        inform(log, "%s: %s", self.name, compile_cache.preparing(programs))
        with compile_times.timed(programs):
            self.text.compile()
            self.pipeline.compile(settings)

    def _programs(self, settings: tuple[Any, ...]) -> str:
        parts = self.dtype, self.t5_dtype, self.rows, self.tensor, self.int8, self.text_on_host
        return compile_times.name_of(self.name, *parts, self.pipeline.structure(settings))

    def _make(
        self,
        texts: Sequence[str],
        seeds: Sequence[int],
        settings: tuple[Any, ...],
        progress: Progress | None,
        sources_of: Callable[[slice], Sources] = lambda part: (None, None),
    ) -> Iterator[tuple[Output, float]]:
        """Make a picture for each text, B at a time.

        Args:
          texts: for the text encoder.
          seeds: a seed for each text.
          settings: what `settings` returned.
          progress: called with (steps done, steps in total) of all pictures.
          sources_of: returns the sources and their edit masks of a slice of the texts.

        Yields:
          Each picture, and the seconds that its batch took.
        """
        self._compile(settings)
        self.text.prepare(texts)
        count = len(texts)
        for start in range(0, count, self.rows):
            stop = min(start + self.rows, count)
            part = slice(start, stop)
            pixels, edit_mask = sources_of(part)
            batch = Batch(pixels, texts[part], np.asarray(seeds[part], np.int32), edit_mask)
            report = progress and _progress_of_part(progress, start, stop, count)
            begin = time.perf_counter()
            made = self.pipeline.run(_filled(batch, self.rows), settings, report)
            seconds = time.perf_counter() - begin
            yield from ((output, seconds) for output in made[: stop - start])

    def _record(self, method: str, settings: tuple[Any, ...], **inputs: Any) -> dict[str, Any]:
        """Return all that reproduces a picture, as JSON values; None and False are left out."""
        shared = self.tensor if self.tensor > 1 else None
        kept = {"text_on_host": self.text_on_host, "int8": list(self.int8), "tensor": shared}
        return {
            "model": self.name,
            "method": method,
            **{
                name: value
                for name, value in inputs.items()
                if value is not None and value is not False
            },
            **as_options(settings),
            "dtype": self.dtype,
            "t5_dtype": self.t5_dtype,
            **{name: value for name, value in kept.items() if value},
            "rows_per_device": self.rows_per_device,
            "backend": jax.default_backend(),
            "versions": {"jaxedit": __version__, "jax": jax.__version__},
        }


def _filled(batch: Batch, rows: int) -> Batch:
    """Repeat the last row of a batch until there are B rows."""
    places = np.minimum(np.arange(rows), len(batch.texts) - 1)
    return Batch(
        pixels=None if batch.pixels is None else batch.pixels[places],
        texts=[batch.texts[i] for i in places],
        seeds=batch.seeds[places],
        edit_mask=None if batch.edit_mask is None else batch.edit_mask[places],
    )


def _progress_of_part(progress: Progress, start: int, stop: int, count: int) -> Progress:
    """Return a report of the pictures from `start` to `stop`, which tells that of all `count`."""

    def report(done: int, steps: int) -> None:
        progress(start * steps + (stop - start) * done, count * steps)

    return report


def fingerprint_of(directory: Directory) -> str:
    """Return the SHA-256 of a model's file of weights, or of its shards' SHA-256 together."""
    digests = [provenance.sha256(file) for file in shards.files_of(directory)]
    return digests[0] if len(digests) == 1 else hashlib.sha256(str(digests).encode()).hexdigest()


def tokenizer_of(config: PretrainedConfig, directory: Directory) -> TextTokenizer | None:
    """Return the tokenizer beside a model's weights; None if the model reads no text."""
    family = family_of(config)
    if family.reads != "text":
        return None
    return TextTokenizer.load(directory, load(family.cleaning) if family.cleaning else str)


def seeds_of(count: int, seed: int, seeds: Sequence[int] | None) -> list[int]:
    """Return the seed of each of `count` pictures: the given seeds, or seed, seed + 1, ...

    Raises:
      ConfigError: the number of seeds, or a seed, is wrong.
    """
    seeds = [seed + i for i in range(count)] if seeds is None else list(seeds)
    require(len(seeds) == count, f"{len(seeds)} seeds for {count} pictures: expected one for each")
    for value in seeds:
        require_seed(value)
    return seeds
