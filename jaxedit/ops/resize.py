"""Resizing by two small matrices, one per axis, in float32 at highest precision.

The bicubic matrices equal PyTorch's, which `jax.image.resize` does not offer: without antialiasing
the kernel has a = -0.75; with antialiasing (as in Pillow) a = -0.5 and a support that grows as the
image shrinks.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Float32


def resample(
    x: Float[ArrayLike, "B H W C"], rows: Float[ArrayLike, "h H"], columns: Float[ArrayLike, "w W"]
) -> Float[Array, "B h w C"]:
    """Mix the rows of images by one matrix, and their columns by another."""
    return jnp.einsum("yh,xw,bhwc->byxc", rows, columns, x, precision=jax.lax.Precision.HIGHEST)


def cubic_matrix(
    n_in: int, n_out: int, step: float | None = None
) -> Float32[np.ndarray, "n_out n_in"]:
    """Return the matrix of bicubic interpolation along one axis, without antialiasing.

    Args:
      step: distance of new positions in old positions, by default n_in / n_out.
    """
    at = (np.arange(n_out) + 0.5) * (step or n_in / n_out) - 0.5
    near = np.floor(at).astype(int)[:, None] + np.arange(-1, 3)[None, :]  # [n_out,4]
    weights = _cubic(at[:, None] - near, -0.75)
    matrix = np.zeros((n_out, n_in), np.float32)
    # Positions beyond the border repeat the pixel at the border: weights there are added up.
    np.add.at(matrix, (np.arange(n_out)[:, None], near.clip(0, n_in - 1)), weights)
    return matrix


def smooth_cubic_matrix(n_in: int, n_out: int) -> Float32[np.ndarray, "n_out n_in"]:
    """Return the matrix of bicubic interpolation along one axis, with antialiasing."""
    step = n_in / n_out
    wide = max(step, 1.0)
    centre = ((np.arange(n_out) + 0.5) * step)[:, None]
    start = np.maximum((centre - 2 * wide + 0.5).astype(int), 0)
    stop = np.minimum((centre + 2 * wide + 0.5).astype(int), n_in)
    j = np.arange(n_in)[None, :]
    weights = _cubic((j - centre + 0.5) / wide, -0.5) * ((start <= j) & (j < stop))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Return the bicubic kernel of Keys 1981 at distances x: 1 at 0, 0 at 1 and from 2 on."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
