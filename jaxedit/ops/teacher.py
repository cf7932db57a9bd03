"""What the teacher of EditAR's distillation sees of a picture.

The student's grid covers the whole picture. The teacher sees, as in the release, its central 87.5 %
(`resize256_crop224`), or all of it (`resize224`). Sizes follow the teacher's grid; 224 pixels are
the 16 x 16 patches of DINOv2 beside EditAR's 32 x 32 tokens.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.ops.resize import resample, smooth_cubic_matrix

VIEWS = ("resize256_crop224", "resize224")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0,1]


def teacher_pixels(pixels: jax.Array, view: str, size: int) -> jax.Array:
    """Resize (bicubic, antialiased), crop the middle and normalise for the teacher.

    Args:
      pixels: f32[B,S,S,3] in [-1,1].
      view: one of `VIEWS`.
      size: s, side of the crop: pixels per patch times patches per side.

    Returns:
      f32[B,s,s,3], normalised by ImageNet's mean and deviation.

    Raises:
      ValueError: the view is unknown.

    Source: EditAR (Mu et al. 2025), section 3; Hugging Face's processor of DINOv2.
    """
    if view not in VIEWS:
        raise ValueError(f"teacher_view={view!r}: expected one of {', '.join(VIEWS)}")
    resized = size * 8 // 7 if view == "resize256_crop224" else size
    start = (resized - size) // 2
    matrix = smooth_cubic_matrix(pixels.shape[1], resized)[start : start + size]
    return imagenet_normalise((resample(pixels, matrix, matrix) + 1) / 2)


def imagenet_normalise(pixels: jax.Array) -> jax.Array:
    """Pixels f32[B,H,W,3] in [0,1] minus ImageNet's mean, over its deviation."""
    mean, std = (jnp.asarray(np.array(v, np.float32)[None, None, None]) for v in (MEAN, STD))
    return (pixels - mean) / std
