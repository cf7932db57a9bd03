"""The preprocessing of images for the teacher of EditAR's distillation.

The student's grid covers the whole image. The teacher sees the central 87.5 % of it, as in the
release (`resize256_crop224`), or the whole image (`resize224`). Sizes follow from the teacher's
grid: 224 pixels are 16 x 16 patches of DINOv2, beside EditAR's 32 x 32 tokens.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxedit.ops.resize import resample, smooth_cubic_matrix

VIEWS = ("resize256_crop224", "resize224")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0,1]


def teacher_pixels(
    pixels: Float[ArrayLike, "B S S 3"], view: str, size: int
) -> Float[Array, "B {size} {size} 3"]:
    """Resize (bicubic, antialiased), crop the middle and normalise images in [-1,1].

    Args:
      size: side of the result in pixels: pixels per patch times patches per side.

    Returns:
      Images normalised by ImageNet's mean and standard deviation.

    Raises:
      ValueError: the view is unknown.

    Source: EditAR (Mu et al. 2025), section 3; Hugging Face's image processor of DINOv2.
    """
    if view not in VIEWS:
        raise ValueError(f"teacher_view={view!r}: expected one of {', '.join(VIEWS)}")
    resized = size * 8 // 7 if view == "resize256_crop224" else size
    start = (resized - size) // 2
    matrix = smooth_cubic_matrix(pixels.shape[1], resized)[start : start + size]
    return imagenet_normalise((resample(pixels, matrix, matrix) + 1) / 2)


def imagenet_normalise(pixels: Float[ArrayLike, "B H W 3"]) -> Float[ArrayLike, "B H W 3"]:
    """Subtract ImageNet's mean from pixels in [0,1], and divide by its standard deviation."""
    mean, std = (jnp.asarray(np.array(v, np.float32)[None, None, None]) for v in (MEAN, STD))
    return (pixels - mean) / std
