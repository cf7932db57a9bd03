"""A picture to edit, with its mask: the way to the square that a model reads, and back."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from jaxedit.config import require
from jaxedit.data import given_mask
from jaxedit.data.given_mask import GivenMask, Mask
from jaxedit.data.pictures import photo
from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.transforms import Fit, from_square, to_square
from jaxedit.editor import provenance

Picture = str | os.PathLike | Image.Image | np.ndarray


class HowToEdit(NamedTuple):
    """Settings that all pictures of a call share.

    Attributes:
      size: S, side of the square that the model reads, in pixels.
      grid: tokens on a side of the square.
      fit: how a picture becomes a square.
      task: see `Editor.edit_batch`.
      feather: see `Editor.edit_batch`.
    """

    size: int
    grid: int
    fit: Fit
    task: str | None
    feather: int | None

    @property
    def is_cut(self) -> bool:
        """Return whether the result is the middle square of the picture, of `size` pixels."""
        return self.fit.kind == "crop" and not self.fit.keep_size


class EditSource(NamedTuple):
    """A picture that has been read, and its mask.

    Attributes:
      picture: RGB.
      mask: None: all of the picture may change.
      how: settings that all pictures of a call share.
      files: names and SHA-256 of the files that picture and mask were read from, as settings.
      square: what the model reads of the picture.
      edit_mask: where the square may change.
    """

    picture: Image.Image
    mask: GivenMask | None
    how: HowToEdit
    files: Mapping[str, str]
    square: UInt8[np.ndarray, "S S 3"]
    edit_mask: Bool[np.ndarray, "S S"]

    @property
    def feather(self) -> int:
        """Return the width of the seam, in pixels of the result."""
        shape = 2 * (self.how.size,) if self.how.is_cut else self.picture.size
        given = self.how.feather
        return given_mask.default_feather(shape) if given is None else int(given)

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings of files and mask, which the edit records."""
        if self.mask is None:
            return dict(self.files)
        mask = {"mask_convention": self.mask.convention, "feather": self.feather}
        return {**self.files, **mask}

    def edit_cells(self) -> Bool[np.ndarray, "h w"] | None:
        """Return the tokens that the mask touches, or None without a mask."""
        if self.mask is None:
            return None
        grid = self.how.grid
        return self.edit_mask.reshape(grid, self.how.size // grid, grid, -1).any((1, 3))

    def restore(self, square: UInt8[np.ndarray, "S S 3"]) -> Image.Image:
        """Convert an edited square to the shape of the result."""
        return from_square(square, self.picture, self.how.fit)

    def result(self, square: UInt8[np.ndarray, "S S 3"]) -> Image.Image:
        """Convert an edited square to the result, which has the source's pixels outside the mask.

        If the result is the middle square, these are the pixels of the square that the model read.
        """
        edit = self.restore(square)
        if self.mask is None:
            return edit
        source, mask = self.picture, self.mask.pixels
        if self.how.is_cut:
            source, mask = Image.fromarray(self.square), self.edit_mask
        return given_mask.compose(edit, source, mask, self.feather)


def read_source(image: Picture | EditSource, mask: Mask | None, how: HowToEdit) -> EditSource:
    """Read a picture and its mask.

    Args:
      image: see `photo.to_rgb`; or a source that was read, with its mask, to be edited in this way.
      mask: see `given_mask.read`; None: all of the picture may change.

    Raises:
      ValueError: a picture or a mask cannot be read, or they do not fit each other; one line.
      OSError: a file is missing.
    """
    if isinstance(image, EditSource):
        require(image.how == how and mask is None, f"the image was read for {image.how}, not {how}")
        return image
    picture = photo.to_rgb(image, is_depth=how.task == "depth")
    given = None if mask is None else given_mask.fit_to(given_mask.read(mask), picture.size)
    files = _files_of(source=image, mask=mask)
    square = np.asarray(to_square(picture, how.size, how.fit))
    edit_mask = np.ones(square.shape[:2], bool)
    if given is not None:
        edit_mask = given_mask.square_of(given, how.size, how.fit)
    square = edge_map(square) if how.task == "canny" else square
    return EditSource(picture, given, how, files, square, edit_mask)


def _files_of(**given: Any) -> dict[str, str]:
    """Return the names, without folders, and the SHA-256 of what was given by its path."""
    found = {}
    for name, file in given.items():
        if isinstance(file, str | os.PathLike):
            found[name] = pathlib.Path(file).name
            found[f"{name}_sha256"] = provenance.sha256(file)
    return found
