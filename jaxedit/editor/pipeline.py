"""What `Editor` and `Generator` need of a kind of model, and what they return."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from jaxedit.data.transforms import Fit, from_square
from jaxedit.editor import provenance

Progress = Callable[[int, int], None]  # (done, in all)


@dataclasses.dataclass(frozen=True)
class EditResult:
    """One edited picture and how it came about.

    Attributes:
      image: the edit, RGB, at the source's size, or at the model's if the source was cropped.
      mask: bool[h,w] on the token grid of the square that the model saw, True = edited; None for
        methods that make none.
      diagnostics: "seconds"; of editar+erec also "js" (bits), "nll_rec" and
        "nll_edit" (nats), f32[h,w], and the pictures "reconstruction" and "raw_edit".
      tokens: per scale bool[n_k,Q], or (i32[h,w],) of next-token models.
      settings: all that reproduces the edit, as JSON values.
    """

    image: Image.Image
    mask: np.ndarray | None
    diagnostics: dict[str, Any]
    tokens: tuple[np.ndarray, ...]
    settings: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class GenerateResult:
    """One picture that was made from a text or a class, and how it came about.

    Attributes:
      image: RGB, at the model's size.
      diagnostics: "seconds".
      tokens: per scale bool[n_k,Q], or (i32[h,w],) of next-token models.
      settings: all that reproduces the picture, as JSON values, but for the weights' SHA-256.
      fingerprint: computes the weights' SHA-256, which takes a while for the first picture.
    """

    image: Image.Image
    diagnostics: dict[str, Any]
    tokens: tuple[np.ndarray, ...]
    settings: dict[str, Any]
    fingerprint: Callable[[], str] = dataclasses.field(repr=False)

    def save(self, path: str | os.PathLike) -> dict[str, Any]:
        """Write a PNG file that carries all settings, and return them.

        Raises:
          ValueError: the name does not end in .png.
          OSError: the file cannot be written.
        """
        settings = self.settings | {"weights_sha256": self.fingerprint()}
        provenance.save_png(provenance.require_writable(path), self.image, settings)
        return settings


class Batch(NamedTuple):
    """What is made together: pixels u8[B,S,S,3] or None, B instructions, seeds i32[B]."""

    pixels: np.ndarray | None
    instructions: Sequence[str]
    seeds: np.ndarray


class Edited(NamedTuple):
    """One row that a pipeline has made: a result before it gets its size and settings.

    pixels: u8[S,S,3]; tokens, mask: as in `EditResult`; maps: f32[h,w] by name; pictures: u8[S,S,3]
    by name.
    """

    pixels: np.ndarray
    tokens: tuple[np.ndarray, ...]
    mask: np.ndarray | None = None
    maps: dict[str, np.ndarray] = {}
    pictures: dict[str, np.ndarray] = {}


def result_of(
    edited: Edited, picture: Image.Image, fit: Fit, seconds: float, settings: dict[str, Any]
) -> EditResult:
    """Return the edit of a picture that became a square by `fit`."""
    pictures = {name: from_square(pixels, picture, fit) for name, pixels in edited.pictures.items()}
    return EditResult(
        image=from_square(edited.pixels, picture, fit),
        mask=edited.mask,
        diagnostics={"seconds": seconds, **edited.maps, **pictures},
        tokens=edited.tokens,
        settings=settings,
    )


class Pipeline(Protocol):
    """A kind of model behind `Editor` or `Generator`: compiled programs for B rows at a time.

    Settings are what `config.settings_of` makes.
    """

    size: int  # S, side of the square that the model sees or draws, in pixels
    params: Any  # on the devices

    def compile(self, settings: tuple[Any, ...]) -> None:
        """Prepare the programs for these settings, or find them ready."""

    def run(
        self, batch: Batch, settings: tuple[Any, ...], progress: Progress | None
    ) -> list[Edited]:
        """Edit or draw B pictures."""


def part_of(progress: Progress, start: int, stop: int, count: int) -> Progress:
    """`progress` of `count` pictures, told from the progress of those from `start` to `stop`."""

    def report(done: int, steps: int) -> None:
        progress(start * steps + (stop - start) * done, count * steps)

    return report
