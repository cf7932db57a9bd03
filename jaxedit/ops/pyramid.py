"""Scale pyramids: the grids of a schedule, and the resizing between the grids.

A residual is reduced by averaging over *areas* (bins that may overlap). Codes are enlarged, and the
input of the next scale is reduced, by *linear* interpolation without antialiasing. The decoder
doubles its grid by repeating the *nearest* pixel. Area and linear resizing multiply with small
matrices, which are computed in numpy and applied in float32 at highest precision, because the
signs of the results are the labels.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Float32, Shaped

from jaxedit.config import Scales
from jaxedit.ops.resize import resample

# Number of scales for each class of image sizes, named by the pixels of an image.
SIZES = {"0.06M": 7, "0.25M": 10, "0.60M": 12, "1M": 13}

# Aspect ratio h/w -> heights and widths of its 13 grids; wider images transpose these templates.
_TALL = {
    1.0: ("1 2 4 6 8 12 16 20 24 32 40 48 64", "1 2 4 6 8 12 16 20 24 32 40 48 64"),
    1.25: ("1 2 3 5 10 15 20 25 30 35 45 55 70", "1 2 3 4 8 12 16 20 24 28 36 44 56"),
    1.333: ("1 2 4 8 12 16 20 24 28 36 48 60 72", "1 2 3 6 9 12 15 18 21 27 36 45 54"),
    1.5: ("1 2 3 6 9 15 21 27 33 39 48 63 78", "1 2 2 4 6 10 14 18 22 26 32 42 52"),
    1.75: ("1 2 3 7 11 14 21 28 35 42 56 70 84", "1 2 3 4 6 8 12 16 20 24 32 40 48"),
    2.0: ("1 2 4 6 10 16 22 30 38 46 60 74 90", "1 2 2 3 5 8 11 15 19 23 30 37 45"),
    2.5: ("1 2 5 10 15 20 25 30 40 50 65 80 100", "1 2 2 4 6 8 10 12 16 20 26 32 40"),
    3.0: ("1 2 6 9 15 21 27 36 45 54 72 90 111", "1 2 2 3 5 7 9 12 15 18 24 30 37"),
}


def _templates() -> dict[float, Scales]:
    """Return the schedule of every published aspect ratio."""
    schedules: dict[float, Scales] = {}
    for aspect, (heights, widths) in _TALL.items():
        scales = tuple(zip(map(int, heights.split()), map(int, widths.split()), strict=True))
        schedules[aspect] = scales
        # The release truncates the key of the transposed template to three decimals.
        schedules.setdefault(int(1000 / aspect) / 1000, tuple((w, h) for h, w in scales))
    return schedules


SCHEDULES: dict[float, Scales] = _templates()


def schedule(aspect: float, size: str) -> Scales:
    """Return the published schedule for the aspect ratio nearest to `aspect`.

    Args:
      aspect: height / width of the image.
      size: a key of `SIZES`.

    Returns:
      (h, w) of each scale in tokens, coarse to fine.

    Raises:
      ValueError: `size` is unknown.
    """
    if size not in SIZES:
        raise ValueError(f"size={size!r}: expected one of {', '.join(SIZES)}")
    nearest = min(SCHEDULES, key=lambda key: abs(aspect - key))
    return SCHEDULES[nearest][: SIZES[size]]


def tokens(scales: Scales) -> int:
    """Return the number of tokens of all scales together."""
    return sum(h * w for h, w in scales)


def offsets(scales: Scales) -> tuple[int, ...]:
    """Return the position of each scale's first token in the sequence of all scales."""
    return tuple(tokens(scales[:k]) for k in range(len(scales)))


def area_matrix(n_in: int, n_out: int) -> Float32[np.ndarray, "n_out n_in"]:
    """Return the matrix of adaptive average pooling along one axis; each row sums to 1.

    Row i averages positions floor(i n_in / n_out) to ceil((i + 1) n_in / n_out) - 1.
    """
    i = np.arange(n_out)[:, None]
    start, end = i * n_in // n_out, -(-(i + 1) * n_in // n_out)
    j = np.arange(n_in)[None, :]
    return ((start <= j) & (j < end)).astype(np.float32) / (end - start).astype(np.float32)


def linear_matrix(n_in: int, n_out: int) -> Float32[np.ndarray, "n_out n_in"]:
    """Return the matrix of linear interpolation along one axis, without antialiasing.

    Pixels have their centres at half positions. Coordinates are float32 as in the release; float64
    gives measurably different weights.
    """
    i = np.arange(n_out, dtype=np.float32)
    at = np.float32(n_in / n_out) * (i + np.float32(0.5)) - np.float32(0.5)
    at = np.maximum(at, np.float32(0))
    low = np.minimum(at.astype(np.int32), n_in - 1)
    high = np.minimum(low + 1, n_in - 1)
    t = at - low.astype(np.float32)
    matrix = np.zeros((n_out, n_in), np.float32)
    rows = np.arange(n_out)
    np.add.at(matrix, (rows, low), 1 - t)
    np.add.at(matrix, (rows, high), t)
    return matrix


def area_resize(
    x: Float[ArrayLike, "B H W C"], size: tuple[int, int]
) -> Float[ArrayLike, "B h w C"]:
    """Average `x` over the bins of a grid of `size` = (h, w)."""
    return _resize(x, size, area_matrix)


def linear_resize(
    x: Float[ArrayLike, "B H W C"], size: tuple[int, int]
) -> Float[ArrayLike, "B h w C"]:
    """Interpolate `x` linearly to a grid of `size` = (h, w), larger or smaller."""
    return _resize(x, size, linear_matrix)


def nearest_double(x: Shaped[ArrayLike, "B H W C"]) -> Shaped[Array, "B 2*H 2*W C"]:
    """Repeat every pixel twice along both axes."""
    B, H, W, C = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (B, H, 2, W, 2, C))
    return x.reshape(B, 2 * H, 2 * W, C)


def _resize(
    x: Float[ArrayLike, "B H W C"], size: tuple[int, int], matrix: Callable[[int, int], np.ndarray]
) -> Float[ArrayLike, "B h w C"]:
    """Resize both axes of `x` by the matrices that `matrix(n_in, n_out)` returns."""
    _, H, W, _ = x.shape
    if (H, W) == tuple(size):
        return x
    return resample(x, matrix(H, size[0]), matrix(W, size[1]))
