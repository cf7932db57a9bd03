"""What `Editor` and `Generator` share: a model on the devices, with its text encoder."""

import functools
import hashlib
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

import jax
from jax.sharding import Mesh

from jaxedit import __version__, assets, compile_cache, tree
from jaxedit.checkpoints import shards
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.config import PretrainedConfig, require, require_int8, require_seed, settings_of
from jaxedit.config.families import family_of, require_purpose
from jaxedit.config.family import load
from jaxedit.config.precision import checked
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.editor import provenance
from jaxedit.editor.pipeline import Batch, Edited, Progress, part_of


class LoadedModel:
    """A loaded model with its text tokenizer.

    Every call runs the same compiled programs, on `rows_per_device` rows per device. A picture is
    therefore the same bit for bit alone, in any batch, and at any place in it.
    """

    purpose: ClassVar[Literal["edit", "draw"]]

    def __init__(
        self,
        config: PretrainedConfig,
        params: tree.Tree,
        tokenizer: TextTokenizer | None,
        *,
        directory: pathlib.Path,
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
          config: the model, of a family of this class's purpose.
          params: its networks, see `checkpoints.pretrained`, in memory or still in their files;
            without the text encoder, this is loaded from `directory` when it is needed.
          tokenizer: the text tokenizer of the model; None for models that read none.
          directory: of the model's files.
          name: recorded in the settings of each picture; None: the directory.
          dtype: float32, or bfloat16 where the release has it, see `config.precision`; None:
            float32 on CPU, bfloat16 elsewhere.
          t5_dtype: of the text encoder, float32, bfloat16 or float16; None: float32, or
            float16 where `dtype` is bfloat16.
          mesh: devices to spread rows (and weights) over; None: one device.
          rows_per_device: more make a batch faster on an accelerator, but one picture no faster;
            rounding, and with it an occasional token, differs between values.
          text_on_host: the text encoder stays on the host's CPU, out of the devices' memory.
          text_features: file of the texts' features; those that it lacks are computed and
            added. The text encoder is not even loaded while it lacks none.
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
        placed = {"dtype": self.dtype, "mesh": mesh}
        slices = 1 if mesh is None else mesh.shape["data"] * mesh.shape["fsdp"]
        self.rows = slices * rows_per_device  # B, how many pictures are made at once
        family = family_of(config)
        self.text = load(family.condition)(
            *(config, params.get("t5"), tokenizer),
            directory=directory,
            on_host=text_on_host,
            file=text_features,
            int8="t5" in int8,
            **placed | {"dtype": self.t5_dtype},
        )
        self.pipeline = load(family.pipeline)(
            *(config, params, self.text), rows=self.rows, int8="transformer" in int8, **placed
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike,
        *,
        text_on_host: bool = False,
        text_features: str | os.PathLike | None = None,
        **options: Any,
    ) -> Self:
        """Load a model, straight onto the devices, and keep its compiled programs on disk.

        Args:
          name: bundled name, directory, gs:// path, official name, or "org/name" on the Hub.
          text_on_host, text_features, **options: see `__init__`.

        Raises:
          ConfigError: the config cannot work, does not fit the weights, or is for something else.
          ValueError: a file is damaged.
          OSError: no such model; says what was expected, or what to fetch from where.
        """
        config, params, directory = open_params(ensure_converted(name))
        require_purpose(config, cls.purpose)
        if text_on_host or text_features:
            params.pop("t5", None)  # loaded when it is needed
        compile_cache.enable()
        is_path = os.path.isdir(name) and directory.parent != assets.ROOT
        return cls(
            config,
            params,
            tokenizer_of(config, directory),
            directory=directory,
            name=str(directory.absolute()) if is_path else os.fspath(name),
            text_on_host=text_on_host,
            text_features=text_features,
            **options,
        )

    @property
    def size(self) -> int:
        """S, the side of the square that the model sees or draws, in pixels."""
        return self.pipeline.size

    @property
    def params(self) -> Any:
        """The weights as they lie on the devices, without the text encoder."""
        return self.pipeline.params

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights' file, or of those of its shards; when first asked for."""
        return self._fingerprint()

    def settings(self, method: str | None = None, **options: Any) -> tuple[Any, ...]:
        """The given options, completed by those that came with the weights, and checked.

        Returns:
          The method's config dataclasses.

        Raises:
          ConfigError: no such method or option, or a value is out of its range.
        """
        return settings_of(self.config, method, options)

    def compile(self, method: str | None = None, **options: Any) -> float:
        """Prepare the programs of a method and its options, or find them ready.

        Returns:
          Seconds that it took.
        """
        start = time.perf_counter()
        self.text.compile()
        self.pipeline.compile(self.settings(method, **options))
        return time.perf_counter() - start

    def _run(
        self,
        count: int,
        batch_of: Callable[[slice], Batch],
        settings: tuple[Any, ...],
        progress: Progress | None,
    ) -> Iterator[tuple[Edited, float]]:
        """Make `count` pictures, B at a time.

        Yields:
          Each picture, and the seconds that its batch took.
        """
        for start in range(0, count, self.rows):
            part = slice(start, min(start + self.rows, count))
            batch = batch_of(part)
            report = progress and part_of(progress, part.start, part.stop, count)
            begin = time.perf_counter()
            made = self.pipeline.run(batch, settings, report)
            seconds = time.perf_counter() - begin
            yield from ((picture, seconds) for picture in made[: part.stop - part.start])

    def _filled(self, rows: Sequence[Any]) -> list[Any]:
        """At most B rows as exactly B: places left over repeat the last one."""
        return [*rows, *rows[-1:] * (self.rows - len(rows))]

    def _placement(self) -> dict[str, Any]:
        """How the weights are kept, as the JSON values that each picture records."""
        return {
            "dtype": self.dtype,
            "t5_dtype": self.t5_dtype,
            **({"text_on_host": True} if self.text_on_host else {}),
            **({"int8": list(self.int8)} if self.int8 else {}),
            "rows_per_device": self.rows_per_device,
            "backend": jax.default_backend(),
            "versions": {"jaxedit": __version__, "jax": jax.__version__},
        }


def fingerprint_of(directory: pathlib.Path) -> str:
    """Return the SHA-256 of a model's weights, see `LoadedModel.fingerprint`."""
    digests = [provenance.sha256(file) for file in shards.files_of(directory)]
    return digests[0] if len(digests) == 1 else hashlib.sha256(str(digests).encode()).hexdigest()


def tokenizer_of(config: PretrainedConfig, directory: pathlib.Path) -> TextTokenizer | None:
    """Return the tokenizer that lies beside a model's weights, if its family reads text."""
    family = family_of(config)
    if family.reads != "text":
        return None
    return TextTokenizer.load(directory, load(family.cleaning) if family.cleaning else str)


def seeds_of(count: int, seed: int, seeds: Sequence[int] | None) -> list[int]:
    """Return one seed for each of `count` rows: the given ones, or `seed` and those after it.

    Raises:
      ConfigError: their number or one of them is wrong.
    """
    seeds = [seed + i for i in range(count)] if seeds is None else list(seeds)
    require(len(seeds) == count, f"{len(seeds)} seeds for {count} images: expected one for each")
    for value in seeds:
        require_seed(value)
    return seeds
