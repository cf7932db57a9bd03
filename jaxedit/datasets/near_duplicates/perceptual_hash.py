"""Perceptual hashes: 64 bits that change little when a picture is resized or compressed.

The bits are pHash (Zauner 2010), which the package `imagehash` computes. Pictures are reduced here
first, by averaging boxes, which is three times faster than imagehash's own Lanczos filter; and
fewer bits differ between copies of a picture.
"""

import types

import numpy as np
from PIL import Image

from jaxedit.config import ConfigError

_SIDE = 32  # pixels, side of the picture that is hashed


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


def hashes(image: Image.Image) -> set[int]:
    """Return the hashes of a picture and of its middle square, which evaluations often use."""
    side = min(image.size)
    left, top = ((n - side) // 2 for n in image.size)
    grey = np.asarray(image.convert("L"))  # Pillow cannot crop very large pictures
    square = Image.fromarray(grey[top : top + side, left : left + side])
    return {perceptual_hash(image), perceptual_hash(square)}


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
