"""Pictures of any kind, read as upright RGB; `transforms` makes squares of them."""

import io
import os
import warnings
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_SIDE = 32_768  # pixels; keeps the memory of one photo below a few hundred megabytes
MAX_PIXELS = 100_000_000
_STRIP = 64  # rows that are handled at a time


class TooLarge(ValueError):
    """A picture has more pixels than are read, or none."""


def read(path: str | os.PathLike) -> Image.Image:
    """The picture in a file, upright and as RGB.

    Raises:
      ValueError: the file is not a picture, is cut short, or is too large; one line.
      OSError: the file is missing or may not be read.
    """
    try:
        with open(path, "rb") as file:
            return _decode(file, path)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise OSError(f"{path}: {error.strerror}: expected a picture") from error


def decode(data: bytes, name: str) -> Image.Image:
    """The picture in the bytes of a file, upright and as RGB.

    Args:
      data: of the file.
      name: for messages.

    Raises:
      TooLarge: the picture is.
      ValueError: the bytes are not a picture or are cut short; one line.
    """
    return _decode(io.BytesIO(data), name)


def to_rgb(image: Image.Image | np.ndarray) -> Image.Image:
    """A picture of any kind as RGB: transparency over white, 16 bits scaled to 8.

    Args:
      image: a PIL image, or u8[H,W], u8[H,W,3], u8[H,W,4].

    Raises:
      ValueError: an array of another type or shape, a mode without a known range, or the picture
        is too large.
    """
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        channels = array.shape[2:] in ((), (3,), (4,)) and array.ndim > 1
        if array.dtype != np.uint8 or not channels or not array.size:
            raise ValueError(
                f"image {array.dtype}{list(array.shape)}: expected a path, a PIL image or "
                "u8[H,W,3], u8[H,W,4] or u8[H,W]"
            )
        image = Image.fromarray(array)
    _check_size(image.size, "image")
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16-bit grey; "I" is how it arrives from some formats
        grey = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("image of mode F: expected 8 or 16 bits per channel")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        return _over_white(np.asarray(image.convert("RGBA")))
    return image.convert("RGB")


def _decode(file: BinaryIO, name: str | os.PathLike) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(file)
            _check_size(image.size, name)
            image.load()
            image = ImageOps.exif_transpose(image)
        except TooLarge:
            raise
        except Exception as error:  # each decoder fails in its own way on damaged files
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if isinstance(error, UnidentifiedImageError):  # its text is about an object
                reason = "of no known format"
            raise ValueError(f"{name}: not a readable picture: {reason}") from error
    return to_rgb(image)


def _over_white(pixels: np.ndarray) -> Image.Image:
    """RGBA u8[H,W,4] over white, truncated to whole levels as in EditAR's release."""
    result = np.empty((*pixels.shape[:2], 3), np.uint8)
    for top in range(0, len(pixels), _STRIP):
        strip = pixels[top : top + _STRIP].astype(np.float64)
        alpha = strip[..., 3:] / 255
        result[top : top + _STRIP] = alpha * strip[..., :3] + 255 * (1 - alpha)
    return Image.fromarray(result)


def _check_size(size: tuple[int, int], name: str | os.PathLike) -> None:
    width, height = size
    if max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise TooLarge(
            f"{name}: {width}x{height} pixels: expected at most {MAX_SIDE} a side and "
            f"{MAX_PIXELS} in all"
        )
    if not width * height:
        raise TooLarge(f"{name}: {width}x{height} pixels: expected at least one")
