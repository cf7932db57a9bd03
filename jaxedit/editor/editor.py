"""Editor: a loaded model with its text tokenizer."""

import functools
import hashlib
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from PIL import Image

from jaxedit import __version__, assets, compile_cache, tree
from jaxedit.checkpoints import shards
from jaxedit.checkpoints.pretrained import open_params
from jaxedit.config import (
    ERecConfig,
    PretrainedConfig,
    as_options,
    method_of,
    require,
    require_int8,
    require_seed,
    settings_of,
)
from jaxedit.config.precision import checked
from jaxedit.convert.ensure_converted import ensure_converted
from jaxedit.data.pictures import photo
from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.transforms import Fit, fit_of, to_square
from jaxedit.editor import provenance
from jaxedit.editor.pipeline import Batch, EditResult, Progress, part_of, result_of
from jaxedit.editor.pipeline_editar import EditARPipeline
from jaxedit.editor.pipeline_varedit import VAREditPipeline
from jaxedit.editor.text_features import TextFeatures, prompt_of, require_words

PIPELINES = {"varedit": VAREditPipeline, "editar": EditARPipeline}  # by model_type

Picture = str | os.PathLike | Image.Image | np.ndarray


class Editor:
    """A loaded model with its text tokenizer; `edit` and `edit_batch` are all there is to it.

    Every call runs the same compiled programs, on `rows_per_device` rows per device. An edit is
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
        t5_dtype: str | None = None,
        mesh: Mesh | None = None,
        rows_per_device: int = 1,
        text_on_host: bool = False,
        text_features: str | os.PathLike | None = None,
        int8: Sequence[str] = (),
    ) -> None:
        """Put the weights on the devices; `from_pretrained` is the usual way.

        Args:
          config: the model, of type varedit or editar.
          params: its networks, see `checkpoints.pretrained`, in memory or still in their files;
            without the text encoder, this is loaded from `directory` when it is needed.
          tokenizer: the text tokenizer of the model.
          directory: of the model's files.
          name: recorded in the settings of each edit; None: the directory.
          dtype: float32, or bfloat16 where the release has it, see `config.precision`; None:
            float32 on CPU, bfloat16 elsewhere.
          t5_dtype: of the text encoder, float32, bfloat16 or float16; None: float32, or
            float16 where `dtype` is bfloat16.
          mesh: devices to spread rows (and weights) over; None: one device.
          rows_per_device: more edit a batch faster on an accelerator, but one picture no faster;
            rounding, and with it an occasional token, differs between values.
          text_on_host: the text encoder stays on the host's CPU, out of the devices' memory.
          text_features: file of the instructions' features; those that it lacks are computed and
            added. The text encoder is not even loaded while it lacks none.
          int8: networks, "t5" and "transformer", whose large kernels are kept as 8-bit integers.
        """
        dtype = dtype or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
        self.dtype, self.t5_dtype = checked(dtype, t5_dtype)
        self.config, self.tokenizer, self.name = config, tokenizer, name or str(directory)
        self.directory, self.text_on_host = directory, text_on_host
        require(rows_per_device > 0, f"rows_per_device={rows_per_device}: expected 1 or more")
        require_int8(int8)
        self.rows_per_device, self.int8 = rows_per_device, tuple(int8)
        placed = {"dtype": self.dtype, "mesh": mesh}
        slices = 1 if mesh is None else mesh.shape["data"] * mesh.shape["fsdp"]
        self.rows = slices * rows_per_device  # B, how many pictures are edited at once
        self.text = TextFeatures(
            *(config, params.get("t5"), tokenizer),
            directory=directory,
            on_host=text_on_host,
            file=text_features,
            int8="t5" in int8,
            **placed | {"dtype": self.t5_dtype},
        )
        self.pipeline = PIPELINES[config.model_type](
            *(config, params, self.text), rows=self.rows, int8="transformer" in int8, **placed
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike = "toy-varedit",
        *,
        text_on_host: bool = False,
        text_features: str | os.PathLike | None = None,
        **options: Any,
    ) -> "Editor":
        """Load a model, straight onto the devices, and keep its compiled programs on disk.

        Args:
          name: bundled name, directory, gs:// path, official name, or "org/name" on the Hub.
          text_on_host, text_features, **options: see `Editor`.

        Raises:
          ConfigError: the config cannot work or does not fit the weights.
          ValueError: a file is damaged.
          OSError: no such model; says what was expected, or what to fetch from where.
        """
        config, params, directory = open_params(ensure_converted(name))
        method_of(config, None)
        if text_on_host or text_features:
            del params["t5"]  # loaded when it is needed
        compile_cache.enable()
        is_path = os.path.isdir(name) and directory.parent != assets.ROOT
        return cls(
            config,
            params,
            TextTokenizer.load(directory),
            directory=directory,
            name=str(directory.absolute()) if is_path else os.fspath(name),
            text_on_host=text_on_host,
            text_features=text_features,
            **options,
        )

    @property
    def size(self) -> int:
        """S, the side of the square that the model sees, in pixels."""
        return self.pipeline.size

    @property
    def params(self) -> Any:
        """The weights as they lie on the devices, without the text encoder."""
        return self.pipeline.params

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights' file, or of those of its shards; when first asked for."""
        digests = [provenance.sha256(file) for file in shards.files_of(self.directory)]
        return (
            digests[0] if len(digests) == 1 else hashlib.sha256(str(digests).encode()).hexdigest()
        )

    def edit(
        self, image: Picture, instruction: str, *, seed: int = 0, **options: Any
    ) -> EditResult:
        """Edit one picture.

        Args:
          image: path, PIL image, or array; see `photo.to_rgb`.
          instruction: what to change, in words.
          seed: another seed gives another edit; equal seeds give equal bits.
          **options: method, task, fit, keep_size, progress, and the method's settings; see
            `edit_batch`.

        Returns:
          The edit.

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
        method: str | None = None,
        task: str | None = None,
        fit: str | None = None,
        keep_size: bool = False,
        strict: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[EditResult]:
        """Edit several pictures, each as `edit` would with its own seed.

        Args:
          images: as for `edit`.
          instructions: one per image.
          seed: row i has the seed `seed + i`.
          seeds: one per image, instead of `seed`.
          method: "varedit" with VAREdit's weights; "editar", the default, or "editar+erec" with
            EditAR's.
          task: "depth", "canny" or "segmentation" makes pictures from maps, whose descriptions are
            the instructions; for canny the images are photos, whose edges are taken.
          fit: "pad" edits whole pictures, on a white square, and returns them at their own size;
            "crop" edits and returns their middle squares, at the model's size. None: what came with
            the weights, see `PretrainedConfig`.
          keep_size: return a cropped picture at its own size: the edited square is put into the
            picture, whose borders stay as they are. Padded ones always keep their size.
          strict: refuse an instruction that is too long, instead of reading its beginning.
          progress: called with (steps done, steps in all); a step is a part of the sampling.
          **options: fields of SampleConfig (varedit), TokenSampleConfig (editar), and beside it
            ERecConfig (editar+erec), such as guidance, temperature, top_p, greedy. Those left out
            or None are what came with the weights.

        Returns:
          One result per image.

        Raises:
          ValueError: a picture cannot be read, or an argument is unknown or out of its range.
          OSError: a picture's file is missing.
        """
        settings = self.settings(method, **options)
        shape = fit_of(self.config, fit, keep_size=keep_size)
        count = len(images)
        seeds = [seed + i for i in range(count)] if seeds is None else list(seeds)
        self._check_rows(count, instructions, seeds)
        for words in instructions:
            self.check_instruction(words, task, strict=strict)
        for words in (part.recon_prompt for part in settings if isinstance(part, ERecConfig)):
            self.check_instruction(words, strict=strict)
        if as_options(settings).get("gumbel_key") == "batch":
            seeds = seeds[:1] * count
        self.compile(method, **options)
        self.read_texts(instructions, task)
        method = method_of(self.config, method)
        results: list[EditResult] = []
        for start in range(0, count, self.rows):
            part = slice(start, min(start + self.rows, count))
            photos = [photo.to_rgb(x, is_depth=task == "depth") for x in images[part]]
            batch = self._batch(photos, shape, instructions[part], seeds[part], task)
            report = progress and part_of(progress, part.start, part.stop, count)
            begin = time.perf_counter()
            edits = self.pipeline.run(batch, settings, report)
            seconds = time.perf_counter() - begin
            for i, (edited, picture) in enumerate(zip(edits, photos, strict=False), start):
                record = self._record(method, instructions[i], seeds[i], task, shape, settings)
                results.append(result_of(edited, picture, shape, seconds, record))
        return results

    def read_texts(self, instructions: Sequence[str], task: str | None = None) -> None:
        """Add to the file of text features what it lacks of them, all at once."""
        self.text.prepare([prompt_of(self.config, words, task) for words in instructions])

    def _check_rows(self, count: int, instructions: Sequence[str], seeds: Sequence[int]) -> None:
        """Raise ConfigError unless each of `count` images has an instruction and a seed."""
        require(
            count == len(instructions) and count > 0,
            f"{count} images and {len(instructions)} instructions: expected one for each",
        )
        require(
            len(seeds) == count, f"{len(seeds)} seeds for {count} images: expected one for each"
        )
        for seed in seeds:
            require_seed(seed)

    def check_instruction(
        self, instruction: str, task: str | None = None, *, strict: bool = False
    ) -> None:
        """Raise ConfigError unless the model can read `instruction`, in full if `strict`."""
        require_words(instruction)
        self.text.check_length(prompt_of(self.config, instruction, task), strict=strict)

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

    def _batch(
        self,
        photos: Sequence[Image.Image],
        fit: Fit,
        instructions: Sequence[str],
        seeds: Sequence[int],
        task: str | None,
    ) -> Batch:
        """At most B edits as a batch of B; places left over repeat the last one."""
        words = [prompt_of(self.config, instruction, task) for instruction in instructions]
        squares = [np.asarray(to_square(p, self.size, fit)) for p in photos]
        if task == "canny":
            squares = [edge_map(square) for square in squares]
        squares, words, seeds = (
            [*given, *given[-1:] * (self.rows - len(given))]
            for given in (squares, words, list(seeds))
        )
        return Batch(np.stack(squares), words, np.asarray(seeds, np.int32))

    def _record(
        self,
        method: str,
        instruction: str,
        seed: int,
        task: str | None,
        fit: Fit,
        settings: tuple[Any, ...],
    ) -> dict[str, Any]:
        """All that reproduces an edit, as JSON values."""
        return {
            "model": self.name,
            "method": method,
            "instruction": instruction,
            **({"task": task} if task else {}),
            "seed": int(seed),
            "fit": fit.kind,
            **({"keep_size": True} if fit.keep_size else {}),
            **as_options(settings),
            "dtype": self.dtype,
            "t5_dtype": self.t5_dtype,
            **({"text_on_host": True} if self.text_on_host else {}),
            **({"int8": list(self.int8)} if self.int8 else {}),
            "rows_per_device": self.rows_per_device,
            "backend": jax.default_backend(),
            "versions": {"jaxedit": __version__, "jax": jax.__version__},
        }
