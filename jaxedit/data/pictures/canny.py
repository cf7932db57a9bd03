"""Canny edges of a photo, equal to kornia's, which EditAR's training uses for its edge maps."""

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8
from scipy.ndimage import correlate, label

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
_EIGHT = np.ones((3, 3), bool)  # a pixel is connected to its eight neighbours
# (y, x) of the neighbour in four directions, 45 degrees apart, clockwise from the right
_NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1))


def canny(
    pixels: Shaped[np.ndarray, "..."], low: float = 0.1, high: float = 0.2
) -> Bool[np.ndarray, "H W"]:
    """Return edges one pixel wide: ridges of the gradient that are connected to a strong ridge.

    Args:
      pixels: f32[H,W,3] in [0,1]; both sides at least 3.
      low: gradient above which a ridge may be an edge.
      high: gradient above which a ridge is an edge, together with all ridges connected to it.

    Raises:
      ValueError: `pixels` has another shape or type.

    Source: Canny 1986; kornia's `canny` with its own defaults (5 x 5 Gaussian of sigma 1).
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.float32:
        raise ValueError(f"pixels {pixels.dtype}{list(pixels.shape)}: expected float32[H,W,3]")
    ridges = thin(blur(pixels @ _LUMA))
    parts, count = label(ridges > low, _EIGHT)
    is_strong = np.zeros(count + 1, bool)  # part 0, the rest, has no pixel above `low`
    is_strong[parts[ridges > high]] = True
    return is_strong[parts]


def edge_map(pixels: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Return the edges of a photo as a picture, white on black."""
    edges = canny(pixels.astype(np.float32) / np.float32(255))
    return np.repeat(edges[..., None].astype(np.uint8) * np.uint8(255), 3, -1)


def blur(luma: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Blur with a Gaussian of sigma 1 over 5 x 5 pixels, mirrored at the border."""
    at = np.arange(-2, 3, dtype=np.float32)
    weights = np.exp(-at * at / np.float32(2))
    weights /= weights.sum()
    rows = correlate(luma, weights[:, None], mode="mirror")
    return correlate(rows, weights[None, :], mode="mirror")


def thin(luma: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Return the gradient's magnitude where it is a ridge, and 0 elsewhere.

    A pixel of a ridge is greater than both neighbours along the gradient's direction, which is
    rounded to multiples of 45 degrees; outside the picture the gradient is 0.
    """
    gx, gy = (correlate(luma, kernel, mode="nearest") for kernel in (_SOBEL, _SOBEL.T))
    magnitude = np.sqrt(gx * gx + gy * gy + np.float32(1e-6))
    # Opposite directions have the same two neighbours.
    direction = np.rint(np.degrees(np.arctan2(gy, gx)) / 45).astype(np.int8) % 4
    padded = np.pad(magnitude, 1)
    H, W = luma.shape
    is_ridge = np.zeros((H, W), bool)
    for towards, (y, x) in enumerate(_NEIGHBOURS):
        ahead = padded[1 + y : 1 + y + H, 1 + x : 1 + x + W]
        behind = padded[1 - y : 1 - y + H, 1 - x : 1 - x + W]
        is_ridge |= (direction == towards) & (magnitude > ahead) & (magnitude > behind)
    return np.where(is_ridge, magnitude, np.float32(0))
