"""Random numbers at the speed of a copy, for programs of which only time and memory are asked."""

import functools
from typing import Any

import numpy as np

COUNT = 1_000_003  # a prime: rows of a matrix differ


def normal(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return normal numbers of deviation 0.02: the same million, over and over."""
    return np.resize(_drawn().astype(dtype), shape)


@functools.cache
def _drawn() -> np.ndarray:
    return 0.02 * np.random.default_rng(0).standard_normal(COUNT, np.float32)
