"""Conversion of pictures of any shape to the square that a model sees, and back.

pad    the whole picture at the top left of a white square, as in VAREdit's released code
crop   the middle square, resized by one of the rules of `CROPS`, as in EditAR's release

Training and editing both use these functions. Pictures are neither flipped nor recoloured, because
instructions mention sides and colours.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxedit.config import PretrainedConfig, family_of, require_fit

_NEAREST, _LANCZOS = Image.Resampling.NEAREST, Image.Resampling.LANCZOS
_LONGEST = 8  # longer pictures, in sides of the square, are never resized as a whole
_STRIP = 64  # rows or columns processed at a time, to bound memory


class Fit(NamedTuple):
    """The way from pictures to squares and back."""

    kind: str  # pad or crop
    rule: str  # for crop, a key of `CROPS`
    keep_size: bool = False  # for crop, whether an edited square is pasted back into its picture


CROP = Fit("crop", "varedit")


def fit_of(model: PretrainedConfig, kind: object = None, *, keep_size: bool = False) -> Fit:
    """Return how the pictures of a model become squares, in training and in editing.

    Args:
      model: its `fit` says whether pictures are padded or cropped, its type how they are resized.
      kind: pad or crop, instead of the model's choice.

    Raises:
      ConfigError: `kind` is neither pad nor crop.
    """
    kind = kind or model.fit
    require_fit(kind)
    return Fit(kind, family_of(model).crop, keep_size)


def to_square(image: Image.Image, size: int, fit: Fit, *, is_mask: bool = False) -> Image.Image:
    """Return the square of `size` pixels that a model sees of a picture.

    Args:
      image: RGB, or L for a mask.
      is_mask: take the nearest pixel instead of a mean, and pad with 0 instead of white.
    """
    if fit.kind == "pad":
        return _pad(image, size, is_mask=is_mask)
    return CROPS[fit.rule](image, size, is_mask=is_mask)


def from_square(pixels: UInt8[np.ndarray, "S S 3"], picture: Image.Image, fit: Fit) -> Image.Image:
    """Convert an edited square back to the shape of its picture.

    A padded square is resized (Lanczos) to the picture's long side, and the padding is cut off. A
    cropped square is returned unchanged. With `keep_size` it is resized (Lanczos) to the region
    that it shows and pasted into the picture, whose other pixels are not changed.

    Args:
      picture: the picture that the square was made from, RGB.

    Returns:
      RGB, of the picture's size unless it was cropped without `keep_size`.
    """
    if fit.kind == "pad":
        side = max(picture.size)
        return _enlarge(pixels, (side, side), picture.size)
    if not fit.keep_size:
        return Image.fromarray(pixels)
    left, top, width, height = _region(picture.size, len(pixels), fit.rule)
    result = Image.new("RGB", picture.size)  # not a copy, which would carry the file's metadata
    result.paste(picture)
    result.paste(_enlarge(pixels, (width, height), (width, height)), (left, top))
    return result


def square_pair(
    source: Image.Image, target: Image.Image, mask: Image.Image | None, size: int, fit: Fit
) -> tuple[Image.Image, Image.Image, Image.Image | None]:
    """Return both pictures and the mask as squares of `size` pixels that show the same region.

    The target is first resized to the source's size, whatever its proportions, as in VAREdit's
    training.
    """
    target = target.resize(source.size, _LANCZOS)
    if mask is not None:
        mask = to_square(mask.resize(source.size, _NEAREST), size, fit, is_mask=True)
    return to_square(source, size, fit), to_square(target, size, fit), mask


def cover_crop(
    image: Image.Image, size: int, *, is_mask: bool = False, rounds: bool = False
) -> Image.Image:
    """Resize (Lanczos) so that the short side is `size` pixels, then crop the middle square.

    Args:
      is_mask: take the nearest pixel instead of a mean.
      rounds: round the long side to whole pixels (half to even) instead of truncating it.

    Source: the training data of VAREdit, which truncates, and of EditAR, which rounds.
    """
    return _middle(image, size, _NEAREST if is_mask else _LANCZOS, rounds=rounds)


def adm_crop(image: Image.Image, size: int, *, is_mask: bool = False) -> Image.Image:
    """Halve (box) while the short side is at least 2 `size`, then `cover_crop`, but bicubic.

    Args:
      is_mask: take the nearest pixel instead of a mean.

    Source: the training data of LlamaGen, after ADM (Dhariwal and Nichol 2021).
    """
    while min(image.size) >= 2 * size:
        half = tuple(n // 2 for n in image.size)
        image = image.resize(half, _NEAREST if is_mask else Image.Resampling.BOX)
    return _middle(image, size, _NEAREST if is_mask else Image.Resampling.BICUBIC, rounds=True)


# model whose training data are cropped in this way -> function (picture, size, is_mask=)
CROPS: dict[str, Callable[..., Image.Image]] = {
    "varedit": cover_crop,
    "editar": functools.partial(cover_crop, rounds=True),
    "llamagen": adm_crop,
}


def _covering(shape: tuple[int, int], size: int, *, rounds: bool) -> tuple[int, int]:
    """Return (width, height) of a picture of this shape after resizing its short side to `size`."""
    short = min(shape)
    return tuple(round(size / short * n) if rounds else size * n // short for n in shape)


def _region(shape: tuple[int, int], size: int, rule: str) -> tuple[int, int, int, int]:
    """Return (left, top, width, height), in a picture's pixels, of its cropped square."""
    whole = _covering(shape, size, rounds=rule != "varedit")
    scales = [n / m for n, m in zip(shape, whole, strict=True)]
    corner = [round((m - size) // 2 * scale) for m, scale in zip(whole, scales, strict=True)]
    return *corner, *(max(1, round(size * scale)) for scale in scales)


def _middle(
    image: Image.Image, size: int, resample: Image.Resampling, *, rounds: bool
) -> Image.Image:
    """Resize a picture until its short side is `size` pixels, and crop the middle square."""
    whole = _covering(image.size, size, rounds=rounds)
    (width, height), (wide, high) = image.size, whole
    left, top = (wide - size) // 2, (high - size) // 2
    box = (left, top, left + size, top + size)
    if max(whole) <= _LONGEST * size:
        return image.resize(whole, resample).crop(box)
    # Resize only the square, with nearly the same result: a narrow picture would otherwise take
    # much more memory than other pictures.
    x, y = width / wide, height / high  # pixels of the picture per pixel of the resized picture
    return image.resize((size, size), resample, (box[0] * x, box[1] * y, box[2] * x, box[3] * y))


def _pad(image: Image.Image, size: int, *, is_mask: bool) -> Image.Image:
    """Pad to a white square at the right or bottom, then resize (Lanczos).

    The result equals padding and resizing the whole square at once, which would not fit in memory
    for a very narrow picture: Pillow resizes rows, then columns, each independently.
    """
    resample, colour = (_NEAREST, "black") if is_mask else (_LANCZOS, "white")
    width, height = image.size
    side = max(width, height)
    narrow = Image.new(image.mode, (size, side), colour)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        strip = Image.new(image.mode, (side, bottom - top), colour)
        strip.paste(image.crop((0, top, width, bottom)), (0, 0))
        narrow.paste(strip.resize((size, bottom - top), resample), (0, top))
    return narrow.resize((size, size), resample)


def _enlarge(
    pixels: UInt8[np.ndarray, "S S 3"], whole: tuple[int, int], size: tuple[int, int]
) -> Image.Image:
    """Resize a square (Lanczos) to `whole`, and return its top left part of `size`.

    The result is made in strips, because only the returned part has to fit in memory.
    """
    (wide, high), (width, height) = whole, size
    square = pixels.shape[0]
    stretched = Image.fromarray(pixels).resize((wide, square), _LANCZOS)
    result = Image.new("RGB", size)
    for left in range(0, width, _STRIP):
        right = min(left + _STRIP, width)
        strip = stretched.crop((left, 0, right, square))
        strip = strip.resize((right - left, high), _LANCZOS)
        result.paste(strip.crop((0, 0, right - left, height)), (left, 0))
    return result
