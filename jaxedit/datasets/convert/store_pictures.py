"""Conversion of a published pair's pictures for a store: verified, upright, RGB, of one size."""

import io
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

from jaxedit.data.pictures import mask_picture, photo
from jaxedit.data.pictures.picture_file import TooLarge, UnknownFormat
from jaxedit.datasets.readers.example import Example

SHORTEST = 4  # smallest short side of a picture, in pixels
NARROWEST = 8  # largest ratio of the long side to the short side
_JPEG = {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"}
_LANCZOS, _NEAREST = Image.Resampling.LANCZOS, Image.Resampling.NEAREST


class Unusable(ValueError):
    """A picture cannot be used; the message is one of a few, so that reasons can be counted."""


class Pictures(NamedTuple):
    """Encoded pictures of equal height and width."""

    source: bytes  # JPEG, or PNG for a label map
    target: bytes  # JPEG
    mask: bytes | None  # one-channel PNG of 0 and 255, or None
    orig_hw: tuple[int, int]  # (H, W) of the published source, upright
    is_reshaped: bool  # whether source and target were published with different proportions


def convert(example: Example, *, store_px: int, keeps_labels: bool) -> Pictures:
    """Decode, resize and encode the published pictures; the source is never enlarged.

    Args:
      store_px: largest short side of the source; larger sources are reduced (Lanczos). Target and
        mask are resized to the source's size, whatever their proportions.
      keeps_labels: whether sources are label maps: resized by nearest pixels, encoded without loss.

    Raises:
      Unusable: a picture is damaged, or too small or too narrow.
    """
    source = _decode(example.source, "source", photo.decode)
    target = _decode(example.target, "target", photo.decode)
    size = stored_size(source.size, store_px)
    mask = None
    if example.mask is not None:
        mask = _decode(example.mask, "mask", mask_picture.decode)
        mask = _encode(mask.resize(size, _NEAREST), format="PNG")
    # How much wider the source is than the target at equal heights.
    ratio = source.width * target.height / (source.height * target.width)
    resized = source.resize(size, _NEAREST if keeps_labels else _LANCZOS)
    return Pictures(
        source=_encode(resized, format="PNG") if keeps_labels else _encode(resized, **_JPEG),
        target=_encode(target.resize(size, _LANCZOS), **_JPEG),
        mask=mask,
        orig_hw=(source.height, source.width),
        is_reshaped=not 0.98 < ratio < 1 / 0.98,
    )


def stored_size(size: tuple[int, int], store_px: int) -> tuple[int, int]:
    """Return (width, height) of a stored picture, whose short side is at most `store_px`."""
    short = min(size)
    return size if short <= store_px else tuple(round(n * store_px / short) for n in size)


def _decode(data: bytes, name: str, reads: Callable[[bytes, str], Image.Image]) -> Image.Image:
    try:
        image = reads(data, name)
    except TooLarge as error:
        raise Unusable(f"{name} too large") from error
    except UnknownFormat as error:
        raise Unusable(f"{name} not a picture") from error
    except ValueError as error:
        raise Unusable(f"{name} damaged") from error
    if min(image.size) < SHORTEST:
        raise Unusable(f"{name} too small")
    if max(image.size) > NARROWEST * min(image.size):
        raise Unusable(f"{name} too narrow")
    return image


def _encode(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()
