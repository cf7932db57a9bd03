"""Buckets of relative positions, as T5's attention uses them."""

import math

import numpy as np
from jaxtyping import Int32


def position_buckets(
    length: int, buckets: int, max_distance: int
) -> Int32[np.ndarray, "{length} {length}"]:
    """Return the bucket of every pair of query and key, a row of the bias table.

    One half of the buckets is for keys after the query, the other for all other keys. In each half,
    the first half of the buckets holds a single distance each. The others grow logarithmically up
    to `max_distance`; all larger distances share the last bucket.

    Args:
      length: S, tokens of the sequence.
      buckets: rows of the bias table.
      max_distance: in tokens.

    Returns:
      Buckets in [0, buckets), query by key.

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
