"""Edit masks: pictures of any kind that mark where an edit may change pixels."""

import io
import os

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from jaxedit.data.pictures import picture_file


def read(path: str | os.PathLike) -> Image.Image:
    """Read the mask in a file; see `decode`.

    Raises:
      ValueError: the file is not a picture, is cut short, or is too large; one line.
      OSError: the file is missing or may not be read.
    """
    with open(path, "rb") as file:
        return _marked(picture_file.load(file, os.fspath(path), any_samples=True))


def decode(data: bytes, name: str) -> Image.Image:
    """Decode the mask in the bytes of the file `name`.

    A pixel is marked if it is lighter than half of the range. If a mask has only one or two values,
    both darker than that (such as 0 and 1, or two colours of a palette), the lighter value is
    marked unless it is 0. Transparent pixels are not marked. If all opaque pixels have the same
    colour, they are marked, whatever the colour.

    Returns:
      Mode L, 255 where marked, 0 elsewhere.

    Raises:
      TooLarge, UnknownFormat: see `picture_file.load`.
      ValueError: the bytes are not a picture or are cut short; one line.
    """
    return _marked(picture_file.load(io.BytesIO(data), name, any_samples=True))


def _marked(image: Image.Image) -> Image.Image:
    values, most = _values(image)
    low, high = values.min(), values.max()
    is_dark = high <= most / 2 and ((values == low) | (values == high)).all()
    is_marked = values == (high or -1) if is_dark else values > most / 2
    return Image.fromarray(np.where(is_marked, np.uint8(255), np.uint8(0)))


def _values(image: Image.Image) -> tuple[Shaped[np.ndarray, "H W"], int]:
    """Return the brightness or opacity that marks pixels, and the top of its range."""
    if image.mode.startswith(("I", "F")):
        return np.asarray(image), 1 if image.mode == "F" else 65535
    colours, alpha = picture_file.split_alpha(image)
    grey = np.asarray(colours.convert("L"))
    if alpha is None:
        return grey, 255
    is_opaque = np.asarray(alpha) > 127
    visible = np.asarray(colours)[is_opaque]
    is_drawn = not is_opaque.all() and len(visible) and (visible == visible[0]).all()
    return (is_opaque, 1) if is_drawn else (grey * is_opaque, 255)
