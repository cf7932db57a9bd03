"""Structural similarity of two pictures, at one scale (SSIM) and at five (MS-SSIM).

Source: Wang et al. 2004 (SSIM) and 2003 (MS-SSIM), in the form of torchmetrics: a Gaussian window
of sigma 1.5 over 11 x 11 pixels, pictures mirrored at the border, values in [0,1]. Up to release
1.4.1 torchmetrics left out five pixels at each border before the mean; `is_cropped` does so.
"""

import math

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.ndimage import correlate1d

_RADIUS = 5
_WINDOW = np.exp(-(np.arange(-_RADIUS, _RADIUS + 1) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()
_C1, _C2 = np.float32(0.01**2), np.float32(0.03**2)
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
_SHORTEST = 160  # pixels; MS-SSIM needs longer sides: the window fits into the coarsest scale

Channel = Float32[np.ndarray, "H W"]


def ssim(
    a: UInt8[np.ndarray, "H W C"], b: UInt8[np.ndarray, "H W C"], *, is_cropped: bool = False
) -> float:
    """Return the mean of SSIM over pixels and channels, at most 1."""
    pairs = zip(_channels(a), _channels(b), strict=True)
    return float(np.mean([_mean(_maps(*pair)[0], is_cropped) for pair in pairs]))


def ms_ssim(
    a: UInt8[np.ndarray, "H W C"], b: UInt8[np.ndarray, "H W C"], *, is_cropped: bool = False
) -> float:
    """Return the weighted product of all scales, in [0,1].

    The coarsest scale gives its SSIM, the others their contrast, always without the border. NaN if
    a side has 160 pixels or less, or if nothing is left of the coarsest scale.
    """
    if min(a.shape[:2]) <= _SHORTEST:
        return math.nan
    pairs = list(zip(_channels(a), _channels(b), strict=True))
    product = 1.0
    for scale, weight in enumerate(_WEIGHTS):
        if scale:
            pairs = [(_halve(x), _halve(y)) for x, y in pairs]
        maps = [_maps(*pair) for pair in pairs]
        if scale < len(_WEIGHTS) - 1:
            means = [_mean(contrast, True) for _, contrast in maps]
        else:
            means = [_mean(similarity, is_cropped) for similarity, _ in maps]
        product *= np.maximum(np.mean(means), 0) ** weight
    return float(product)


def _channels(picture: UInt8[np.ndarray, "H W C"]) -> Float32[np.ndarray, "C H W"]:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)


def _halve(x: Channel) -> Float32[np.ndarray, "h w"]:
    """Average blocks of 2 x 2 pixels; an odd last row or column is left out."""
    H, W = (n // 2 for n in x.shape)
    return x[: 2 * H, : 2 * W].reshape(H, 2, W, 2).mean((1, 3))


def _maps(a: Channel, b: Channel) -> tuple[Channel, Channel]:
    """Return SSIM and its contrast term at all pixels."""
    mean_a, mean_b, squares, product = map(_blur, (a, b, a * a + b * b, a * b))
    mean_squares, mean_product = mean_a * mean_a + mean_b * mean_b, mean_a * mean_b
    # Rounding can make a variance negative where both pictures are flat.
    variances = np.maximum(squares - mean_squares, 0)
    contrast = (2 * (product - mean_product) + _C2) / (variances + _C2)
    return contrast * (2 * mean_product + _C1) / (mean_squares + _C1), contrast


def _mean(x: Channel, is_cropped: bool) -> float:
    """Return the mean, NaN if nothing is left without the border."""
    if is_cropped:
        x = x[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    return float(x.mean()) if x.size else math.nan


def _blur(x: Channel) -> Channel:
    for axis in (0, 1):
        x = correlate1d(x, _WINDOW, axis, mode="mirror")
    return x
