"""64 bits that change little when a picture is resized, compressed or brightened."""

import functools

import numpy as np
from PIL import Image

_SIDE, _LOW = 32, 8  # of the small picture, and of its lowest frequencies


def perceptual_hash(image: Image.Image) -> int:
    """Which of a picture's 64 lowest frequencies are above their median.

    Args:
      image: any mode that Pillow converts to grey.

    Returns:
      64 bits, the mean's first.

    Source: "pHash", Zauner 2010, with the two-dimensional discrete cosine transform of 32 x 32.
    """
    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    low = _waves() @ np.asarray(small, np.float32) @ _waves().T
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def hashes(image: Image.Image) -> set[int]:
    """Hashes of a picture and of its middle square, which evaluations often cut out."""
    side = min(image.size)
    left, top = ((n - side) // 2 for n in image.size)
    grey = np.asarray(image.convert("L"))  # Pillow itself cuts no large pictures
    square = Image.fromarray(grey[top : top + side, left : left + side])
    return {perceptual_hash(image), perceptual_hash(square)}


@functools.cache
def _waves() -> np.ndarray:
    """Cosines f32[8,32] of the lowest frequencies."""
    at = (np.arange(_SIDE, dtype=np.float32) + 0.5) * (np.pi / _SIDE)
    return np.cos(np.arange(_LOW, dtype=np.float32)[:, None] * at)
