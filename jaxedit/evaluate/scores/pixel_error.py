"""Scores of differences between pixels: MSE, PSNR, L1. Values of pixels are in [0,1].

Pixels that a part leaves out are black in both pictures, and count as equal pixels.

Source: PnPInversion's evaluation (MSE, PSNR), MagicBrush's (L1; its L2 is the MSE).
"""

import math

import numpy as np
from jaxtyping import UInt8

from jaxedit.evaluate.scores.pair import Pair


def mse(pair: Pair) -> float:
    """Return the mean squared difference."""
    return pair.once(_mse)


def psnr(pair: Pair) -> float:
    """Return the peak signal-to-noise ratio in dB, infinity for equal pictures."""
    error = mse(pair)
    return -10 * math.log10(error) if error else math.inf


def l1(pair: Pair) -> float:
    """Return the mean absolute difference."""
    return float(np.abs(np.subtract(pair.a, pair.b, dtype=np.int16)).mean()) / 255


def _mse(a: UInt8[np.ndarray, "*n"], b: UInt8[np.ndarray, "*n"]) -> float:
    return float(np.square(np.subtract(a, b, dtype=np.int32)).mean()) / 255**2
