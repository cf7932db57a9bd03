"""Editor: a loaded model that edits pictures."""

import collections
import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from jaxedit.config import ERecConfig, as_options, method_of, require, require_feather
from jaxedit.data.given_mask import GivenMask, Mask, square_of
from jaxedit.data.transforms import fit_of
from jaxedit.editor import provenance
from jaxedit.editor.edit_source import EditSource, HowToEdit, Picture, read_source
from jaxedit.editor.loaded_model import LoadedModel, Sources, seeds_of
from jaxedit.editor.photo_check import PhotoCheck
from jaxedit.editor.pipeline import Output, Progress, Tokens
from jaxedit.editor.show import as_html, side_by_side
from jaxedit.editor.text_features import prompt_of
from jaxedit.editor.word_check import words_notice


@dataclasses.dataclass(frozen=True)
class EditResult:
    """An edited picture, and how it was made; notebooks show it beside its source.

    Attributes:
      mask: on the token grid of the square that the model read, True = edited: the tokens that a
        given mask touches; with ERec its mask, limited as `ERecConfig.mask_mode` says; else None.
      diagnostics: "seconds"; with ERec also "js" (bits), "nll_rec" and "nll_edit" (nats), f32[h,w],
        the pictures "reconstruction" and "raw_edit" (of varedit+erec with two passes), and
        "reconstruction_psnr" (dB; with one pass of the first pictures only); "notice" if a bundled
        model is given a picture unlike toys, or words that it does not know.
      tokens: the bits of each scale; of next-token models one array of token ids.
      settings: all that reproduces the edit, as JSON values, except the weights' SHA-256.
      source: the picture that was edited, upright, RGB.
      fingerprint: computes the weights' SHA-256, which takes a while for the first picture.
      restore: computes `image`.
    """

    mask: Bool[np.ndarray, "h w"] | None
    diagnostics: dict[str, Any]
    tokens: Tokens
    settings: dict[str, Any]
    source: Image.Image = dataclasses.field(repr=False)
    fingerprint: Callable[[], str] = dataclasses.field(repr=False)
    restore: Callable[[], Image.Image] = dataclasses.field(repr=False)

    @functools.cached_property
    def image(self) -> Image.Image:
        """Return the edit, RGB, of the source's size, or of the model's if the source was cropped.

        The model's square is brought to this size when the edit is first asked for: a server does
        so beside the next edit.
        """
        return self.restore()

    def save(self, path: str | os.PathLike) -> dict[str, Any]:
        """Write a PNG file that carries all settings, and return them.

        `python -m jaxedit --from_png` makes the edit again if its source, and its mask, were given
        as paths.

        Raises:
          ValueError: the name does not end in .png.
          OSError: the file cannot be written.
        """
        settings = self.settings | {"weights_sha256": self.fingerprint()}
        provenance.save_png(provenance.require_writable(path), self.image, settings)
        return settings

    def _repr_html_(self) -> str:
        """Return source and edit for a notebook."""
        words, captions = self.settings["instruction"], ["source", f"seed {self.settings['seed']}"]
        return as_html(side_by_side([self.source, self.image], captions, words), words)


class Editor(LoadedModel):
    """A loaded model that edits pictures: call `edit` or `edit_batch`."""

    purpose, text_name = "edit", "instruction"

    @functools.cached_property
    def _photo_check(self) -> PhotoCheck:
        return PhotoCheck(self.name, self.pipeline)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike = "toy-varedit", **options: Any) -> "Editor":
        """Load a model; see `LoadedModel.from_pretrained`.

        >>> editor = Editor.from_pretrained("toy-varedit")
        >>> editor.size  # pixels on a side of the square that it reads
        64
        """
        return super().from_pretrained(name, **options)

    def edit(
        self,
        image: Picture,
        instruction: str,
        *,
        seed: int = 0,
        mask: Mask | None = None,
        **options: Any,
    ) -> EditResult:
        """Edit a picture.

        Args:
          image: path, PIL image, or array; see `photo.to_rgb`.
          instruction: the change, in words.
          seed: another seed gives another edit; equal seeds give equal bits.
          mask: where the picture may change: path, PIL image, bool[H,W] or u8[H,W]. White marks it
            or, in pictures with transparent pixels, transparency. Everywhere else the result has
            the source's own pixels, bit for bit. None: everywhere.
          **options: method, task, fit, keep_size, feather, progress, and the method's settings;
            see `edit_batch`.

        Raises:
          ValueError: the picture cannot be read, or an argument is out of its range.
          OSError: the picture's file is missing.

        >>> scene = "jaxedit/assets/scene.png"
        >>> result = editor.edit(scene, "make the ball blue", seed=1, guidance=2.0)
        >>> result.image.size, result.settings["guidance"]
        ((256, 256), 2.0)

        Several pictures are edited as if each were alone:

        >>> words = ["make the ball blue", "remove the ball"]
        >>> results = editor.edit_batch([scene, scene], words, seed=1, guidance=2.0)
        >>> [made.settings["seed"] for made in results]
        [1, 2]
        >>> results[0].image.tobytes() == result.image.tobytes()  # as if it were edited alone
        True
        """
        return self.edit_batch([image], [instruction], seed=seed, masks=[mask], **options)[0]

    def edit_batch(
        self,
        images: Sequence[Picture | EditSource],
        instructions: Sequence[str],
        *,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        masks: Sequence[Mask | None] | None = None,
        method: str | None = None,
        task: str | None = None,
        fit: str | None = None,
        keep_size: bool = False,
        feather: int | None = None,
        strict: bool = False,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[EditResult]:
        """Edit several pictures, each as `edit` would with its own seed; return them in order.

        Args:
          images, instructions: as for `edit`; as many of either. An image may also be what
            `read_source` returned, with its mask, for these settings.
          seed, seeds: row i has the seed `seeds[i]` or, without `seeds`, `seed + i`.
          masks: for each image a mask as for `edit`, or None; None: no masks.
          method: "varedit", "varedit+erec", "editar" or "editar+erec"; None: without ERec.
          task: "depth", "canny" or "segmentation": make pictures from maps; the instructions
            describe the pictures. For canny the images are photos, whose edges are taken.
          fit: "pad": whole pictures, on a white square, returned at their own size | "crop": their
            middle squares, at the model's size | None: as stored with the weights.
          keep_size: return a cropped picture at its own size: the edited square is pasted into the
            picture, whose borders do not change. Padded pictures always keep their size.
          feather: width, in pixels of the result, of the seam in which source and edit blend, just
            inside a mask; 0 = none; None: 4 for each 512 pixels of the result's long side.
          strict: refuse an instruction that is too long, instead of reading its beginning.
          progress: called with (steps done, steps in total).
          **options: fields of SampleConfig (varedit), TokenSampleConfig (editar), ERecConfig
            (editar+erec) and ScaleERecConfig (varedit+erec), such as temperature; None: the value
            stored with the weights.

        Raises:
          ValueError: a picture cannot be read, or an argument is unknown or out of its range.
          OSError: a picture's file is missing.
        """
        settings = self.settings(method, **options)
        masks = _checked(images, instructions, masks, task)
        require_feather(feather)
        seeds = seeds_of(len(images), seed, seeds)
        texts = self._prompts(instructions, task, settings, strict=strict)
        if as_options(settings).get("gumbel_key") == "batch":
            seeds = seeds[:1] * len(images)
        shape = fit_of(self.config, fit, keep_size=keep_size)
        how = HowToEdit(self.size, self.pipeline.grid, shape, task, feather)
        read: collections.deque[EditSource] = collections.deque()  # not edited yet
        sources_of = partial(_read, images, masks, how, read)
        made = self._make(texts, seeds, settings, progress, sources_of)
        inputs = {"task": task, "fit": shape.kind, "keep_size": shape.keep_size}
        record = partial(self._record, method_of(self.config, method), settings, **inputs)
        return [
            self._result(row, read.popleft(), partial(record, instruction=text, seed=int(seed)))
            for row, text, seed in zip(made, instructions, seeds, strict=True)
        ]

    def _result(
        self,
        made: tuple[Output, float],
        source: EditSource,
        record: Callable[..., dict[str, Any]],
    ) -> EditResult:
        """Return the result of an edit and its seconds; `record` adds the source's settings."""
        output, seconds = made
        settings = record(**source.settings)
        pictures = {name: source.restore(pixels) for name, pixels in output.pictures.items()}
        diagnostics = {"seconds": seconds, **output.numbers, **output.maps, **pictures}
        if notice := self._notice(source, settings["instruction"], is_map="task" in settings):
            diagnostics["notice"] = notice
        return EditResult(
            mask=source.edit_cells() if output.mask is None else output.mask,
            diagnostics=diagnostics,
            tokens=output.tokens,
            settings=settings,
            source=source.picture,
            fingerprint=self._fingerprint,
            restore=partial(source.result, output.pixels),
        )

    def _notice(self, source: EditSource, instruction: str, *, is_map: bool) -> str:
        """Return what a bundled model cannot know of a source or an instruction, or ""."""
        photo = "" if is_map else self._photo_check.notice(source.square)
        return "; ".join(filter(None, (photo, words_notice(self.name, instruction))))

    def grid(
        self,
        image: Picture,
        instruction: str,
        *,
        seeds: Sequence[int] = range(4),
        mask: Mask | None = None,
        **options: Any,
    ) -> Image.Image:
        """Return a picture and its edits with several seeds, side by side.

        Args:
          seeds: a seed for each edit.
          image, instruction, mask: as for `edit`.
          **options: as for `edit`.

        Raises:
          ValueError, OSError: as `edit` does.
        """
        n = len(seeds)
        require(n > 0, "seeds: none: expected a seed for each edit")
        results = self.edit_batch(
            [image] * n, [instruction] * n, seeds=seeds, masks=[mask] * n, **options
        )
        pictures = [results[0].source, *(result.image for result in results)]
        captions = ["source", *(f"seed {seed}" for seed in seeds)]
        return side_by_side(pictures, captions, instruction)

    def check_mask(self, mask: GivenMask | None, *, fit: str | None = None) -> None:
        """Raise ConfigError if the model sees no marked pixel of a mask of its picture's size."""
        if mask is not None:
            square_of(mask, self.size, fit_of(self.config, fit))

    def _prompts(
        self, instructions: Sequence[str], task: str | None, settings: Any, *, strict: bool
    ) -> list[str]:
        """Return the text encoder's inputs, once all texts of an edit can be read."""
        for instruction in instructions:
            self.check_text(instruction, task, strict=strict)
            words_notice(self.name, instruction)  # before the edit: the log has it once
        for part in settings:
            if isinstance(part, ERecConfig):
                self.check_text(part.recon_prompt, strict=strict)
        return [prompt_of(self.config, instruction, task) for instruction in instructions]


def _checked(
    images: Sequence[Picture | EditSource],
    instructions: Sequence[str],
    masks: Sequence[Mask | None] | None,
    task: str | None,
) -> Sequence[Mask | None]:
    """Return a mask or None for each image.

    Raises:
      ConfigError: there are more or fewer instructions or masks than images, or the task takes no
        masks.
    """
    count = len(images)
    require(
        count == len(instructions) and count > 0,
        f"{count} images and {len(instructions)} instructions: expected one for each",
    )
    masks = [None] * count if masks is None else masks
    require(len(masks) == count, f"{len(masks)} masks for {count} images: expected one for each")
    require(
        task is None or all(mask is None for mask in masks),
        f"task={task!r}: expected no mask: the picture is made anew from its map",
    )
    return masks


def _read(
    images: Sequence[Picture | EditSource],
    masks: Sequence[Mask | None],
    how: HowToEdit,
    read: collections.deque[EditSource],
    part: slice,
) -> Sources:
    """Read some of the images, append them to `read`, and return their squares and edit masks."""
    pairs = zip(images[part], masks[part], strict=True)
    sources = [read_source(image, mask, how) for image, mask in pairs]
    read.extend(sources)
    squares, edit_masks = zip(*((s.square, s.edit_mask) for s in sources), strict=True)
    return np.stack(squares), np.stack(edit_masks)
