"""Training pairs of any size to squares. No flips and no colour changes: instructions name both."""

import functools
from collections.abc import Callable

from PIL import Image

_NEAREST = Image.Resampling.NEAREST
_LONGEST = 8  # sides of the square; longer pictures are never resized as a whole


def cover_crop(
    image: Image.Image, size: int, *, is_mask: bool = False, rounds: bool = False
) -> Image.Image:
    """Resize (Lanczos) so that the short side is `size` pixels, then cut the middle square out.

    Args:
      image: any mode that Pillow resizes.
      size: S, pixels.
      is_mask: take the nearest pixel, not a mean.
      rounds: round the long side to whole pixels, to even ones from the middle, instead of
        truncating it.

    Source: the training data of VAREdit, which truncates, and of EditAR, which rounds.
    """
    short = min(image.size)
    whole = tuple(round(size / short * n) if rounds else size * n // short for n in image.size)
    return _middle(image, whole, size, _NEAREST if is_mask else Image.Resampling.LANCZOS)


def adm_crop(image: Image.Image, size: int, *, is_mask: bool = False) -> Image.Image:
    """Halve (box) while the short side stays at least `size`, then `cover_crop`, but bicubic.

    Args:
      image: any mode that Pillow resizes.
      size: S, pixels.
      is_mask: take the nearest pixel, not a mean.

    Source: the training data of LlamaGen, as of ADM (Dhariwal and Nichol 2021).
    """
    while min(image.size) >= 2 * size:
        half = tuple(n // 2 for n in image.size)
        image = image.resize(half, _NEAREST if is_mask else Image.Resampling.BOX)
    whole = tuple(round(n * (size / min(image.size))) for n in image.size)
    return _middle(image, whole, size, _NEAREST if is_mask else Image.Resampling.BICUBIC)


# The training data whose squares are wanted -> (picture, size, is_mask=) to a square
CROPS: dict[str, Callable[..., Image.Image]] = {
    "varedit": cover_crop,
    "editar": functools.partial(cover_crop, rounds=True),
    "llamagen": adm_crop,
}


def crop_pair(
    source: Image.Image,
    target: Image.Image,
    mask: Image.Image | None,
    size: int,
    crop: str = "varedit",
) -> tuple[Image.Image, Image.Image, Image.Image | None]:
    """Both pictures and the mask as squares of `size` pixels that show the same region.

    The target first takes the source's size, whatever its proportions, as in VAREdit's training.
    """
    square = CROPS[crop]
    target = target.resize(source.size, Image.Resampling.LANCZOS)
    if mask is not None:
        mask = square(mask.resize(source.size, _NEAREST), size, is_mask=True)
    return square(source, size), square(target, size), mask


def _middle(
    image: Image.Image, whole: tuple[int, int], size: int, resample: Image.Resampling
) -> Image.Image:
    """The middle square of the picture resized to `whole` = (width, height)."""
    (width, height), (wide, high) = image.size, whole
    left, top = (wide - size) // 2, (high - size) // 2
    box = (left, top, left + size, top + size)
    if max(whole) <= _LONGEST * size:
        return image.resize(whole, resample).crop(box)
    # Only the square, nearly the same, so that a narrow picture takes no more memory than others.
    x, y = width / wide, height / high  # pixels of the picture per pixel of the resized one
    return image.resize((size, size), resample, (box[0] * x, box[1] * y, box[2] * x, box[3] * y))
