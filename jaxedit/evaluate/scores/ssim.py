"""Structural similarity of two pictures, at one scale (SSIM) and at five (MS-SSIM).

Source: Wang et al. 2004 (SSIM) and 2003 (MS-SSIM), in the form of torchmetrics: a Gaussian window
of sigma 1.5 over 11 x 11 pixels, pictures mirrored at the border, values in [0,1]. Up to release
1.4.1 torchmetrics left out five pixels at each border before the mean; `is_cropped` does so.
"""

import functools
import math

import numpy as np
from jaxtyping import Float32, UInt8

from jaxedit.evaluate.scores.pair import Pair

_RADIUS = 5
_WINDOW = np.exp(-(np.arange(-_RADIUS, _RADIUS + 1) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()
_C1, _C2 = np.float32(0.01**2), np.float32(0.03**2)
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
_SHORTEST = 160  # pixels; MS-SSIM needs longer sides: the window fits into the coarsest scale
# Rows that a matrix product blurs: few, so that little of the band matrix is zero, and so that
# libraries of matrix products start no threads of their own
_TILE = 12

Channel = Float32[np.ndarray, "H W"]
Planes = Float32[np.ndarray, "C H W"]
Means = tuple[float, float, float]  # of SSIM, of SSIM and of its contrast without the border


def ssim(pair: Pair, *, is_cropped: bool = False) -> float:
    """Return the mean of SSIM over pixels and channels, at most 1."""
    return pair.once(_finest)[is_cropped]


def ms_ssim(pair: Pair, *, is_cropped: bool = False) -> float:
    """Return the weighted product of all scales, in [0,1].

    The coarsest scale gives its SSIM, the others their contrast, always without the border. NaN if
    a side has 160 pixels or less, or if nothing is left of the coarsest scale.
    """
    if min(pair.a.shape[:2]) <= _SHORTEST:
        return math.nan
    *finer, coarsest = pair.once(_finest), *pair.once(_coarser)
    means = [contrast for _, _, contrast in finer] + [coarsest[is_cropped]]
    return float(np.prod(np.maximum(means, 0) ** _WEIGHTS))


def _finest(a: UInt8[np.ndarray, "H W C"], b: UInt8[np.ndarray, "H W C"]) -> Means:
    return _means(_planes(a), _planes(b))


def _coarser(a: UInt8[np.ndarray, "H W C"], b: UInt8[np.ndarray, "H W C"]) -> list[Means]:
    """Return the means at all scales but the finest, each half as large as the scale before."""
    pictures, means = (_planes(a), _planes(b)), []
    for _ in _WEIGHTS[1:]:
        pictures = tuple(map(_halve, pictures))
        means.append(_means(*pictures))
    return means


def _planes(picture: UInt8[np.ndarray, "H W C"]) -> Planes:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)


def _halve(x: Planes) -> Float32[np.ndarray, "C h w"]:
    """Average blocks of 2 x 2 pixels; an odd last row or column is left out."""
    H, W = (2 * (n // 2) for n in x.shape[1:])
    rows = x[:, :H:2] + x[:, 1:H:2]
    return (rows[..., :W:2] + rows[..., 1:W:2]) / 4


def _means(a: Planes, b: Planes) -> Means:
    """Return means over pixels and channels; NaN if nothing is left without the border."""
    found = []
    for similarity, contrast in map(_maps, a, b):
        inner = [x[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS] for x in (similarity, contrast)]
        found.append([float(x.mean()) if x.size else math.nan for x in (similarity, *inner)])
    return tuple(np.mean(found, 0).tolist())


def _maps(a: Channel, b: Channel) -> tuple[Channel, Channel]:
    """Return SSIM and its contrast term at all pixels."""
    mean_a, mean_b, squares, product = _blur(np.stack([a, b, a * a + b * b, a * b]))
    mean_squares, mean_product = mean_a * mean_a + mean_b * mean_b, mean_a * mean_b
    # Rounding can make a variance negative where both pictures are flat.
    variances = np.maximum(squares - mean_squares, 0)
    contrast = (2 * (product - mean_product) + _C2) / (variances + _C2)
    return contrast * (2 * mean_product + _C1) / (mean_squares + _C1), contrast


def _blur(x: Planes) -> Planes:
    """Blur along both axes by products with bands of a matrix: twice as fast as filters."""
    for _ in range(2):
        length = x.shape[2]
        matrix, blurred = _window_matrix(length), np.empty(x.transpose(0, 2, 1).shape, np.float32)
        for start in range(0, length, _TILE):
            band = slice(max(start - _RADIUS, 0), start + _TILE + _RADIUS)
            tile = matrix[start : start + _TILE, band]
            np.matmul(tile, x[:, :, band].transpose(0, 2, 1), out=blurred[:, start : start + _TILE])
        x = blurred  # transposed: the second time along the other axis, and back
    return x


@functools.lru_cache(maxsize=16)
def _window_matrix(length: int) -> Float32[np.ndarray, "{length} {length}"]:
    """Return the matrix that blurs a line of pixels, mirrored at its ends."""
    matrix, at = np.zeros((length, length), np.float32), np.arange(length)
    mirrored = np.pad(at, _RADIUS, mode="reflect")
    for shift, weight in enumerate(_WINDOW):
        np.add.at(matrix, (at, mirrored[shift : shift + length]), weight)
    return matrix
