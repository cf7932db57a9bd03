"""Scores of differences between pixels: MSE, PSNR, L1. Values of pixels are in [0,1].

Pixels that a part leaves out are black in both pictures, and count as equal pixels.

Source: PnPInversion's evaluation (MSE, PSNR), MagicBrush's (L1; its L2 is the MSE).
"""

import math

import numpy as np
from jaxtyping import UInt8


def mse(a: UInt8[np.ndarray, "*n"], b: UInt8[np.ndarray, "*n"]) -> float:
    """Return the mean squared difference."""
    return float(np.square(np.subtract(a, b, dtype=np.int32)).mean()) / 255**2


def psnr(a: UInt8[np.ndarray, "*n"], b: UInt8[np.ndarray, "*n"]) -> float:
    """Return the peak signal-to-noise ratio in dB, infinity for equal pictures."""
    error = mse(a, b)
    return -10 * math.log10(error) if error else math.inf


def l1(a: UInt8[np.ndarray, "*n"], b: UInt8[np.ndarray, "*n"]) -> float:
    """Return the mean absolute difference."""
    return float(np.abs(np.subtract(a, b, dtype=np.int16)).mean()) / 255
