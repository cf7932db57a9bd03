"""Editor: a loaded model that edits pictures."""

import collections
import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from PIL import Image

from jaxedit.config import ERecConfig, as_options, method_of, require
from jaxedit.data.pictures import photo
from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.transforms import Fit, fit_of, to_square
from jaxedit.editor.loaded_model import LoadedModel, seeds_of
from jaxedit.editor.pipeline import Batch, EditResult, Progress, result_of
from jaxedit.editor.text_features import prompt_of, require_words

Picture = str | os.PathLike | Image.Image | np.ndarray


class Editor(LoadedModel):
    """A loaded model that edits pictures: `edit` and `edit_batch` are all there is to it."""

    purpose = "edit"

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike = "toy-varedit", **options: Any) -> Self:
        """Load a model; see `LoadedModel.from_pretrained`."""
        return super().from_pretrained(name, **options)

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
        seeds = seeds_of(count, seed, seeds)
        require(
            count == len(instructions) and count > 0,
            f"{count} images and {len(instructions)} instructions: expected one for each",
        )
        for words in instructions:
            self.check_instruction(words, task, strict=strict)
        for words in (part.recon_prompt for part in settings if isinstance(part, ERecConfig)):
            self.check_instruction(words, strict=strict)
        if as_options(settings).get("gumbel_key") == "batch":
            seeds = seeds[:1] * count
        self.compile(method, **options)
        self.read_texts(instructions, task)
        method = method_of(self.config, method)
        photos: collections.deque[Image.Image] = collections.deque()

        def batch_of(part: slice) -> Batch:
            read = [photo.to_rgb(x, is_depth=task == "depth") for x in images[part]]
            photos.extend(read)
            return self._batch(read, shape, instructions[part], seeds[part], task)

        results: list[EditResult] = []
        for i, (edited, seconds) in enumerate(self._run(count, batch_of, settings, progress)):
            record = self._record(method, instructions[i], seeds[i], task, shape, settings)
            results.append(result_of(edited, photos.popleft(), shape, seconds, record))
        return results

    def read_texts(self, instructions: Sequence[str], task: str | None = None) -> None:
        """Add to the file of text features what it lacks of them, all at once."""
        self.text.prepare([prompt_of(self.config, words, task) for words in instructions])

    def check_instruction(
        self, instruction: str, task: str | None = None, *, strict: bool = False
    ) -> None:
        """Raise ConfigError unless the model can read `instruction`, in full if `strict`."""
        require_words(instruction)
        self.text.check(prompt_of(self.config, instruction, task), strict=strict)

    def _batch(
        self,
        photos: Sequence[Image.Image],
        fit: Fit,
        instructions: Sequence[str],
        seeds: Sequence[int],
        task: str | None,
    ) -> Batch:
        """At most B edits as a batch of B."""
        words = [prompt_of(self.config, instruction, task) for instruction in instructions]
        squares = [np.asarray(to_square(p, self.size, fit)) for p in photos]
        if task == "canny":
            squares = [edge_map(square) for square in squares]
        squares, words, seeds = map(self._filled, (squares, words, list(seeds)))
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
            **self._placement(),
        }
