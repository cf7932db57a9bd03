"""FID: the distance between the distributions of edits and of targets, in Inception's features.

Source: Heusel et al. 2017, with the resize of Parmar et al. 2022 (clean-fid).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from jaxedit.evaluate.scores.score import Edit

SIDE = 299  # pixels


def features(edits: Sequence[Edit], network: Any) -> list[Float32[np.ndarray, "2 D"]]:
    """Return Inception's features of the edit and of the target."""
    pictures = [picture for edit in edits for picture in (edit.edited, edit.target)]
    pooled = np.asarray(network.pool_features(np.stack(list(map(clean_resize, pictures)))))
    return list(pooled.reshape(len(edits), 2, -1))


def fid(pairs: Float[np.ndarray, "B 2 D"]) -> float:
    """Return the FID of edits and targets."""
    return frechet_distance(pairs[:, 0], pairs[:, 1])


def clean_resize(
    picture: UInt8[np.ndarray, "H W 3"], side: int = SIDE
) -> Float32[np.ndarray, "h w 3"]:
    """Resize (bicubic, antialiased) to a square in 0..255, without rounding."""
    channels = [
        Image.fromarray(channel) for channel in np.moveaxis(picture, 2, 0).astype(np.float32)
    ]
    resized = [np.asarray(c.resize((side, side), Image.Resampling.BICUBIC)) for c in channels]
    return np.clip(np.stack(resized, axis=2), 0, 255)


def frechet_distance(a: Float[np.ndarray, "n D"], b: Float[np.ndarray, "m D"]) -> float:
    """Return the Fréchet distance of two normal distributions with the samples' moments.

    NaN for less than two samples. The covariances S = R'R come from a QR decomposition, and the
    trace of the square root of their product is the sum of the singular values of R_a R_b'; no
    square root of a rounding error spoils it, as it would for covariances of low rank.
    """
    if min(len(a), len(b)) < 2:
        return math.nan
    (mean_a, factor_a), (mean_b, factor_b) = (_moments(x.astype(np.float64)) for x in (a, b))
    overlap = np.linalg.svd(factor_a @ factor_b.T, compute_uv=False).sum()
    spread = np.square(factor_a).sum() + np.square(factor_b).sum()
    return max(float(np.square(mean_a - mean_b).sum() + spread - 2 * overlap), 0.0)


def _moments(
    x: Float[np.ndarray, "n D"],
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, "k D"]]:
    """Return the mean and an upper triangular factor R of the covariance R'R."""
    mean = x.mean(0)
    return mean, np.linalg.qr(x - mean[None], mode="r") / math.sqrt(len(x) - 1)
