"""Masks that users give with a picture: where an edit may change it.

Two conventions are told apart. A picture without transparency marks with white: pixels lighter than
half of the range may change. A picture with transparent pixels marks with transparency, as in the
images API of OpenAI: pixels that are more than half transparent may change, whatever their colour.
"""

import io
import logging
import os
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from jaxedit.config import require
from jaxedit.config.checks import MAX_FEATHER
from jaxedit.data.pictures import picture_file
from jaxedit.data.transforms import Fit, to_square

log = logging.getLogger(__name__)

_STRIP = 64  # rows blended at a time, to bound memory
_SHAPE_TOLERANCE = 0.01  # of width / height


class GivenMask(NamedTuple):
    """A mask as it was given.

    Attributes:
      pixels: True where the picture may change.
      convention: whether white or transparency marks these pixels.
      name: of its file, for messages.
    """

    pixels: Bool[np.ndarray, "H W"]
    convention: Literal["white", "transparent"]
    name: str


Mask = str | os.PathLike | Image.Image | np.ndarray | GivenMask


def read(mask: Mask) -> GivenMask:
    """Read a mask.

    Args:
      mask: a path; a PIL image, turned by its EXIF data; or bool[H,W] or u8[H,W].

    Raises:
      ValueError: the mask is of another kind, damaged or too large; one line.
      OSError: the file is missing or may not be read.
    """
    if isinstance(mask, GivenMask):
        return mask
    if isinstance(mask, str | os.PathLike):
        name = os.fspath(mask)
        try:
            with open(mask, "rb") as file:
                return _of_image(picture_file.load(io.BytesIO(file.read()), name), name)
        except OSError as error:
            raise OSError(f"{name}: {error.strerror}: expected a mask") from error
    if isinstance(mask, Image.Image):
        return _of_image(picture_file.upright(mask, "mask"), "mask")
    array = np.asarray(mask)
    if array.ndim != 2 or array.dtype not in (np.bool_, np.uint8):
        raise ValueError(
            f"mask {array.dtype}{list(array.shape)}: expected a path, a PIL image, bool[H,W] or "
            "u8[H,W]"
        )
    return GivenMask(array if array.dtype == np.bool_ else array > 127, "white", "mask")


def fit_to(mask: GivenMask, size: tuple[int, int]) -> GivenMask | None:
    """Return the mask at the size of its picture, or None if all of the picture may change.

    A mask of another size but the same shape is resized (nearest pixel), which is logged.

    Args:
      size: (width, height) of the picture.

    Raises:
      ConfigError: the mask has another shape than the picture, or marks nothing.
    """
    height, width = mask.pixels.shape
    sizes = f"{mask.name}: {width}x{height} pixels, the picture has {size[0]}x{size[1]}"
    if (width, height) != size:
        other = abs(width * size[1] / max(1, height * size[0]) - 1)
        require(other <= _SHAPE_TOLERANCE, f"{sizes}: expected a mask of the same shape")
        log.warning("%s: the mask is resized", sizes)
        image = Image.fromarray(mask.pixels).resize(size, Image.Resampling.NEAREST)
        mask = mask._replace(pixels=np.asarray(image))
    rule = {
        "white": "no pixel is lighter than half of the range: expected white where to edit",
        "transparent": "no pixel is over half transparent: expected transparency where to edit",
    }
    require(bool(mask.pixels.any()), f"{mask.name}: an empty mask: {rule[mask.convention]}")
    if mask.pixels.all():
        log.warning("%s: a full mask: the same as no mask", mask.name)
        return None
    return mask


def square_of(mask: GivenMask, size: int, fit: Fit) -> Bool[np.ndarray, "S S"]:
    """Return the mask of the square that a model sees of the picture.

    A pixel of the square is marked if a marked pixel of the picture lies in it or beside it.
    Padding is marked only if a marked pixel of the picture lies beside it.

    Raises:
      ConfigError: the model sees no marked pixel.
    """
    height, width = mask.pixels.shape
    side = max(width, height) if fit.kind == "pad" else min(width, height)
    # The square takes every nth pixel. Growing the mask by over n / 2 lets it miss no marked pixel.
    reach = side // (2 * size) + 1 if side > size else 0
    pixels = mask.pixels
    if fit.kind == "pad":
        pixels = np.pad(pixels, [(0, min(reach, side - n)) for n in pixels.shape])
    grown = _grown(pixels, reach)
    square = np.asarray(to_square(Image.fromarray(grown), size, fit, is_mask=True)) > 0
    require(
        bool(square.any()),
        f"{mask.name}: marks nothing in the middle square, which is what this model edits: "
        "expected a mask there, or fit=pad",
    )
    return square


def default_feather(size: tuple[int, int]) -> int:
    """Return the width of the seam for a picture of (width, height): 4 pixels for each 512."""
    return min(MAX_FEATHER, round(max(size) / 128))


def compose(
    edit: Image.Image, source: Image.Image, mask: Bool[np.ndarray, "H W"], feather: int
) -> Image.Image:
    """Return the source with the edit inside the mask; both are RGB of one size.

    Outside the mask pixels are the source's own. Inside, the share of the edit grows from the rim
    in `feather` steps of a pixel, to 1; the borders of the picture are no rim.
    """
    depth = _depths(mask, feather + 1)
    source_pixels, edit_pixels = np.asarray(source), np.asarray(edit)
    result = np.empty_like(source_pixels)
    for top in range(0, len(result), _STRIP):
        rows = slice(top, top + _STRIP)
        share = depth[rows, :, None].astype(np.float32) / (feather + 1)  # exact at 0 and 1
        blend = share * edit_pixels[rows] + (1 - share) * source_pixels[rows]
        result[rows] = np.rint(blend)
    return Image.fromarray(result)


def _of_image(image: Image.Image, name: str) -> GivenMask:
    """Return the mask in an upright picture, by the convention that the picture follows."""
    if image.mode.startswith(("I", "F")):
        most = 1 if image.mode == "F" else 65535
        return GivenMask(np.asarray(image) > most / 2, "white", name)
    colours, alpha = picture_file.split_alpha(image)
    opacity = None if alpha is None else np.asarray(alpha)
    if opacity is not None and (opacity < 255).any():
        return GivenMask(opacity < 128, "transparent", name)
    return GivenMask(np.asarray(colours.convert("L")) > 127, "white", name)


def _grown(mask: Bool[np.ndarray, "H W"], reach: int) -> UInt8[np.ndarray, "H W"]:
    """Return 255 at pixels with a True pixel at most `reach` rows and columns away, 0 elsewhere."""
    from scipy.ndimage import maximum_filter1d

    grown = np.where(mask, np.uint8(255), np.uint8(0))
    for axis in (0, 1):
        grown = maximum_filter1d(grown, 2 * reach + 1, axis, mode="constant")
    return grown


def _depths(mask: Bool[np.ndarray, "H W"], most: int) -> UInt8[np.ndarray, "H W"]:
    """Return how many pixels deep in the mask a pixel lies, 0 = outside, at most `most`."""
    depth = mask.astype(np.uint8)
    for _ in range(most - 1):
        mask = _eroded(mask)
        depth += mask
    return depth


def _eroded(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Return the pixels of the mask whose eight neighbours are in it too."""
    padded = np.pad(mask, 1, constant_values=True)
    rows = padded[:-2] & padded[1:-1] & padded[2:]
    return rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
