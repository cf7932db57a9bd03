"""An edit that a client asks for, checked as far as this needs no loaded model."""

import dataclasses
import io
from collections.abc import Hashable
from typing import Any

import numpy as np
from PIL import Image

from jaxedit.config import (
    PretrainedConfig,
    as_options,
    family_of,
    require,
    require_feather,
    require_fit,
    require_words,
    settings_of,
)
from jaxedit.config.methods import PART_OF
from jaxedit.data import given_mask
from jaxedit.data.given_mask import GivenMask
from jaxedit.data.pictures import photo, picture_file
from jaxedit.data.transforms import fit_of
from jaxedit.editor.edit_source import EditSource, HowToEdit, read_source
from jaxedit.editor.text_features import prompt_of


@dataclasses.dataclass(frozen=True, eq=False)
class EditRequest:
    """An edit without its seed; every seed makes a variant.

    Attributes:
      model: its name at this server.
      source: the picture and its mask, converted for the model.
      instruction: the change, in words.
      options: method, task, fit, keep_size, feather and the method's settings, as
        `Editor.edit_batch` takes them.
      has_own_noise: whether a row's noise comes from its own seed, and not from that of the first
        row of its batch.
      explains: whether the result tells how the model attended, see `attention_of`.
    """

    model: str
    source: EditSource
    instruction: str
    options: dict[str, Any]
    has_own_noise: bool = True
    explains: bool = False

    def key(self, seed: int) -> Hashable:
        """Return what the edits of a batch have in common, so that each equals itself alone."""
        return self.model, None if self.has_own_noise else seed, *sorted(self.options.items())


def decode(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """Decode an upright picture of any mode.

    Args:
      data: of a picture file.
      name: of the picture, in messages.
      max_pixels: counted before the picture is decoded.

    Raises:
      ValueError: the bytes are no picture, are cut short, or are too many pixels; one line.
    """
    return picture_file.load(io.BytesIO(data), name, any_samples=True, max_pixels=max_pixels)


def checked_request(
    name: str,
    config: PretrainedConfig,
    image: Image.Image,
    instruction: str,
    *,
    mask: Image.Image | np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    **options: Any,
) -> EditRequest:
    """Return a request whose picture, mask and options fit each other and the model.

    Args:
      name, config: of the model.
      image: of any mode; see `photo.to_rgb`.
      instruction: the change, in words.
      mask: as large as the picture; see `given_mask.read`. None: everything may change.
      size: (width, height) that the result must have; None: any.
      **options: see `EditRequest`; None: the default.

    Raises:
      ValueError: they do not fit; one line.
    """
    options = {key: value for key, value in options.items() if value is not None}
    settings = settings_of(
        config, options.get("method"), {k: v for k, v in options.items() if k in PART_OF}
    )
    require_feather(options.get("feather"))
    require_fit(options.get("fit", config.fit))
    task = options.get("task")
    require_words(instruction, "prompt")
    prompt_of(config, instruction, task)
    require(
        task is None or mask is None,
        f"task={task!r}: expected no mask: the picture is made anew from its map",
    )
    picture = photo.to_rgb(image, is_depth=task == "depth")
    shape = fit_of(config, options.get("fit"), keep_size=options.get("keep_size", False))
    how = HowToEdit(*family_of(config).square(config), shape, task, options.get("feather"))
    source = read_source(picture, None if mask is None else _mask_of(picture, mask), how)
    _require_size(source, size)
    has_own_noise = as_options(settings).get("gumbel_key") != "batch"
    return EditRequest(name, source, instruction, options, has_own_noise)


def _require_size(source: EditSource, size: tuple[int, int] | None) -> None:
    """Raise ConfigError unless the result will have the size that the client asks for."""
    width, height = 2 * (source.how.size,) if source.how.is_cut else source.picture.size
    given = size or (width, height)
    require(
        given == (width, height),
        f"size={given[0]}x{given[1]}: expected auto or {width}x{height}, the size of this edit",
    )


def _mask_of(picture: Image.Image, mask: Image.Image | np.ndarray) -> GivenMask | None:
    """Return a mask of the picture's size; other sizes are refused, as by OpenAI's images API."""
    given = given_mask.read(mask)
    height, width = given.pixels.shape
    require(
        (width, height) == picture.size,
        f"mask: {width}x{height} pixels: expected {picture.width}x{picture.height}, as the image",
    )
    return given_mask.fit_to(given, picture.size)
