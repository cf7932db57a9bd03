"""Perceptual hashes of pictures.

A perceptual hash has 64 bits that change little when a picture is resized or compressed: pHash
(Zauner 2010), which the package `imagehash` computes. Pictures are reduced here first, by averaging
boxes, which is three times faster than imagehash's own Lanczos filter; and fewer bits differ
between copies of a picture.
"""

import io
import types

import numpy as np
from PIL import Image

from jaxedit.config import ConfigError
from jaxedit.data.record import Record

_SIDE = 32  # pixels, side of the picture that is hashed
_SMALL = (64, 64)  # smallest size to which the JPEG decoder may reduce a picture for hashing


def hashes_of(record: Record) -> set[int]:
    """Return the hashes of the target and, if the source is a photo, of the source."""
    is_photo = record.task in ("edit", "recon")
    return {
        bits
        for file in (record.target, *((record.source,) if is_photo else ()))
        for bits in hashes(_open_small(file))
    }


def hashes(image: Image.Image) -> set[int]:
    """Return the hashes of a picture and of its middle square, which evaluations often use."""
    side = min(image.size)
    left, top = ((n - side) // 2 for n in image.size)
    grey = np.asarray(image.convert("L"))  # Pillow cannot crop very large pictures
    square = Image.fromarray(grey[top : top + side, left : left + side])
    return {perceptual_hash(image), perceptual_hash(square)}


def perceptual_hash(image: Image.Image) -> int:
    """Return which of a picture's 64 lowest frequencies are above their median.

    Args:
      image: any mode that Pillow converts to grey.

    Returns:
      64 bits, the mean's first.

    Raises:
      ConfigError: imagehash is not installed.
    """
    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    bits = import_imagehash().phash(small).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def import_imagehash() -> types.ModuleType:
    """Return the package imagehash, which is an optional dependency.

    Raises:
      ConfigError: it is not installed; says how to install it.
    """
    try:
        import imagehash
    except ImportError as error:
        raise ConfigError(
            f"near duplicates need imagehash: pip install 'jaxedit[datasets]' ({error})"
        ) from error
    return imagehash


def _open_small(file: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(file))
    image.draft("L", _SMALL)
    return image
