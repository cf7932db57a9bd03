"""Editor: a loaded model that edits pictures."""

import collections
import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from jaxedit.config import ERecConfig, as_options, method_of, require
from jaxedit.data.pictures import photo
from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.transforms import Fit, fit_of, from_square, to_square
from jaxedit.editor.loaded_model import LoadedModel, seeds_of
from jaxedit.editor.pipeline import Output, Progress, Tokens
from jaxedit.editor.text_features import prompt_of

Picture = str | os.PathLike | Image.Image | np.ndarray


@dataclasses.dataclass(frozen=True)
class EditResult:
    """An edited picture, and how it was made.

    Attributes:
      image: the edit, RGB, of the source's size, or of the model's size if the source was cropped.
      mask: on the token grid of the square that the model read, True = edited; None for methods
        without a mask.
      diagnostics: "seconds"; of editar+erec also "js" (bits), "nll_rec" and "nll_edit" (nats),
        f32[h,w], and the pictures "reconstruction" and "raw_edit".
      tokens: the bits of each scale; of next-token models one array of token ids.
      settings: all that reproduces the edit, as JSON values.
    """

    image: Image.Image
    mask: Bool[np.ndarray, "h w"] | None
    diagnostics: dict[str, Any]
    tokens: Tokens
    settings: dict[str, Any]


class Editor(LoadedModel):
    """A loaded model that edits pictures: call `edit` or `edit_batch`."""

    purpose, text_name = "edit", "instruction"

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike = "toy-varedit", **options: Any) -> "Editor":
        """Load a model; see `LoadedModel.from_pretrained`."""
        return super().from_pretrained(name, **options)

    def edit(
        self, image: Picture, instruction: str, *, seed: int = 0, **options: Any
    ) -> EditResult:
        """Edit a picture.

        Args:
          image: path, PIL image, or array; see `photo.to_rgb`.
          instruction: the change, in words.
          seed: another seed gives another edit; equal seeds give equal bits.
          **options: method, task, fit, keep_size, progress, and the method's settings; see
            `edit_batch`.

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
        """Edit several pictures, each as `edit` would with its own seed; return them in order.

        Args:
          images: as for `edit`.
          instructions: an instruction for each image.
          seed: row i has the seed `seed + i`.
          seeds: a seed for each image, instead of `seed`.
          method: "varedit", "editar" or "editar+erec"; None: the first that fits the weights.
          task: "depth", "canny" or "segmentation": make pictures from maps; the instructions
            describe the pictures. For canny the images are photos, whose edges are taken.
          fit: "pad" edits whole pictures, on a white square, and returns them at their own size;
            "crop" edits and returns their middle squares, at the model's size. None: the choice
            stored with the weights, see `PretrainedConfig`.
          keep_size: return a cropped picture at its own size: the edited square is pasted into the
            picture, whose borders do not change. Padded pictures always keep their size.
          strict: refuse an instruction that is too long, instead of reading its beginning.
          progress: called with (steps done, steps in total).
          **options: fields of SampleConfig (varedit), TokenSampleConfig (editar) and ERecConfig
            (editar+erec), such as temperature; None: the value stored with the weights.

        Raises:
          ValueError: a picture cannot be read, or an argument is unknown or out of its range.
          OSError: a picture's file is missing.
        """
        settings = self.settings(method, **options)
        count, shape = len(images), fit_of(self.config, fit, keep_size=keep_size)
        seeds = seeds_of(count, seed, seeds)
        require(
            count == len(instructions) and count > 0,
            f"{count} images and {len(instructions)} instructions: expected one for each",
        )
        texts = self._prompts(instructions, task, settings, strict=strict)
        if as_options(settings).get("gumbel_key") == "batch":
            seeds = seeds[:1] * count
        read: collections.deque[Image.Image] = collections.deque()  # pictures not edited yet
        squares_of = functools.partial(self._squares, images, task, shape, read)
        made = self._make(texts, seeds, settings, progress, squares_of)
        inputs = {"task": task, "fit": shape.kind, "keep_size": shape.keep_size}
        record = functools.partial(self._record, method_of(self.config, method), settings, **inputs)
        return [
            _result(
                output, read.popleft(), shape, seconds, record(instruction=text, seed=int(seed))
            )
            for (output, seconds), text, seed in zip(made, instructions, seeds, strict=True)
        ]

    def _prompts(
        self, instructions: Sequence[str], task: str | None, settings: Any, *, strict: bool
    ) -> list[str]:
        """Return the text encoder's inputs, once all texts of an edit can be read."""
        for instruction in instructions:
            self.check_text(instruction, task, strict=strict)
        for part in settings:
            if isinstance(part, ERecConfig):
                self.check_text(part.recon_prompt, strict=strict)
        return [prompt_of(self.config, instruction, task) for instruction in instructions]

    def _squares(
        self,
        images: Sequence[Picture],
        task: str | None,
        shape: Fit,
        read: collections.deque[Image.Image],
        part: slice,
    ) -> UInt8[np.ndarray, "n S S 3"]:
        """Read some of the images, append them to `read`, and return the model's squares."""
        pictures = [photo.to_rgb(image, is_depth=task == "depth") for image in images[part]]
        read.extend(pictures)
        squares = [np.asarray(to_square(image, self.size, shape)) for image in pictures]
        return np.stack([edge_map(s) for s in squares] if task == "canny" else squares)


def _result(
    output: Output, source: Image.Image, fit: Fit, seconds: float, settings: dict[str, Any]
) -> EditResult:
    """Return the edit of a picture that became a square by `fit`."""
    pictures = {name: from_square(pixels, source, fit) for name, pixels in output.pictures.items()}
    return EditResult(
        image=from_square(output.pixels, source, fit),
        mask=output.mask,
        diagnostics={"seconds": seconds, **output.maps, **pictures},
        tokens=output.tokens,
        settings=settings,
    )
