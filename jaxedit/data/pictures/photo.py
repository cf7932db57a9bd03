"""Pictures of any kind, read as upright RGB of any size; `transforms` makes them square."""

import io
import logging
import os

import numpy as np
from jaxtyping import Real, Shaped, UInt8
from PIL import Image

from jaxedit.data.pictures import colour, picture_file
from jaxedit.data.pictures.picture_formats import STRETCH
from jaxedit.warn_once import warn_once

log = logging.getLogger(__name__)

_STRIP = 64  # rows processed at a time, to bound memory


def read(path: str | os.PathLike, *, is_depth: bool = False) -> Image.Image:
    """Read the picture in a file, upright and as RGB; see `to_rgb`.

    Args:
      path: path of a file in any format that Pillow decodes; of a depth map also a NumPy file.

    Raises:
      ValueError: the file is not a picture, is cut short, or is too large; one line.
      OSError: the file is missing or may not be read.
    """
    try:
        with open(path, "rb") as file:
            if is_depth and file.peek(6).startswith(b"\x93NUMPY"):
                return _of_numpy(file, path)
            image = picture_file.load(file, os.fspath(path), any_samples=is_depth)
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}: expected a picture") from error
    return _rgb(image, os.fspath(path), is_depth)


def decode(data: bytes, name: str) -> Image.Image:
    """Decode the picture in the bytes of the file `name`, upright and as RGB.

    Raises:
      TooLarge, UnknownFormat: see `picture_file.load`.
      ValueError: the bytes are not a picture or are cut short; one line.
    """
    return _rgb(picture_file.load(io.BytesIO(data), name), name, False)


def to_rgb(
    image: str | os.PathLike | Image.Image | Shaped[np.ndarray, "..."], *, is_depth: bool = False
) -> Image.Image:
    """Convert a picture of any kind to 8-bit sRGB, upright, with transparency over white.

    Args:
      image: a path, see `read`; a PIL image, turned by its EXIF data and converted by its colour
        profile; or u8[H,W], u8[H,W,3], u8[H,W,4].
      is_depth: a depth map, which may have 16 bits or be an array f[H,W] or i[H,W]: the least value
        becomes black, the greatest white. Maps of 8 bits are not changed.

    Raises:
      ValueError: an array of another type or shape, samples without a known range, damaged pixels,
        or the picture is too large.
      OSError: the file is missing or may not be read.
    """
    if isinstance(image, str | os.PathLike):
        return read(image, is_depth=is_depth)
    if not isinstance(image, Image.Image):
        return _of_array(np.asarray(image), is_depth)
    return _rgb(picture_file.upright(image, "image"), "image", is_depth)


def _of_numpy(file: io.BufferedIOBase, path: str | os.PathLike) -> Image.Image:
    try:
        return _of_array(np.load(file, allow_pickle=False), is_depth=True)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a depth map: {error}") from error


def _of_array(array: Shaped[np.ndarray, "..."], is_depth: bool) -> Image.Image:
    """Convert an array as `to_rgb` does."""
    is_u8 = array.dtype == np.uint8 and array.ndim > 1 and array.shape[2:] in ((), (3,), (4,))
    is_deep = is_depth and array.dtype.kind in "fiu" and array.ndim == 2 and not is_u8
    if not array.size or not (is_u8 or is_deep):
        raise ValueError(
            f"image {array.dtype}{list(array.shape)}: expected a path, a PIL image or "
            "u8[H,W,3], u8[H,W,4] or u8[H,W]"
        )
    picture_file.require_size(array.shape[1::-1], "image")
    if is_deep:
        return Image.fromarray(_stretched(array, "image")).convert("RGB")
    return _rgb(Image.fromarray(array), "image", is_depth)


def _rgb(image: Image.Image, name: str, is_depth: bool) -> Image.Image:
    """Convert a decoded, upright picture as `to_rgb` does."""
    is_deep, profile = image.mode.startswith(("I", "F")), image.info.get("icc_profile")
    if is_deep and is_depth:
        return Image.fromarray(_stretched(np.asarray(image), name)).convert("RGB")
    colours, alpha = _of_16_bits(image, name) if is_deep else picture_file.split_alpha(image)
    result = colour.to_srgb(colours, None if is_depth else profile)
    result = result if alpha is None else _over_white(result, alpha)
    if result.info:  # a profile, for example, no longer fits the converted colours
        result = result.copy()
        result.info = {}
    return result


def _of_16_bits(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None]:
    """Convert samples of 0 ... 65535 to mode L; return grey, and opacity or None."""
    values, clear = np.asarray(image), image.info.get("transparency")
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        kind = "float" if image.mode == "F" else "32-bit"
        raise ValueError(f"{name}: {kind} samples, whose range is not known: {STRETCH}")
    grey = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    return grey, None if clear is None else Image.fromarray(
        255 * (values != clear).astype(np.uint8)
    )


def _stretched(values: Real[np.ndarray, "H W"], name: str) -> UInt8[np.ndarray, "H W"]:
    """Scale a depth map to 8 bits: the least value becomes 0, the greatest 255, NaN 0."""
    values = values.astype(np.float64)
    known = values[np.isfinite(values)]
    if not known.size:
        raise ValueError(f"{name}: a depth map without a finite value")
    warn_once(
        log,
        "depth maps of more than 8 bits: the least value becomes black, the greatest white; EditAR "
        "was trained on maps in which near is bright",
    )
    low, high = known.min(), known.max()
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return np.rint((values - low) / (high - low or 1) * 255).astype(np.uint8)


def _over_white(image: Image.Image, alpha: Image.Image) -> Image.Image:
    """Compose RGB over white, truncated to whole levels as in EditAR's release."""
    pixels, opaque = np.asarray(image), np.asarray(alpha)
    result = np.empty_like(pixels)
    for top in range(0, len(pixels), _STRIP):
        strip = slice(top, top + _STRIP)
        share = opaque[strip, :, None].astype(np.float64) / 255
        result[strip] = share * pixels[strip] + 255 * (1 - share)
    return Image.fromarray(result)
