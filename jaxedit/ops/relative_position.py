"""T5's buckets of relative positions."""

import math

import numpy as np


def position_buckets(length: int, buckets: int, max_distance: int) -> np.ndarray:
    """Which row of the bias table belongs to each (query, key) pair.

    Half of the buckets are for keys after the query. Of each half, the first half holds one
    distance each; the rest grow logarithmically up to `max_distance`, beyond which all distances
    share the last.

    Args:
      length: S.
      buckets: rows of the bias table.
      max_distance: tokens.

    Returns:
      i32[S,S], query by key, in [0, buckets).

    Source: Raffel et al. 2020 (T5), section 2.1, and its released code.
    """
    half = buckets // 2
    exact = half // 2
    offset = np.arange(length)[None, :] - np.arange(length)[:, None]  # key - query
    distance = np.abs(offset)
    growth = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    far = exact + growth / np.float32(math.log(max_distance / exact)) * (half - exact)
    near = np.where(distance < exact, distance, np.minimum(far.astype(np.int32), half - 1))
    return (near + np.where(offset > 0, half, 0)).astype(np.int32)
