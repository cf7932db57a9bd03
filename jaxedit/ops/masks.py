"""Which keys a query may see: masks over sequences made of blocks."""

from collections.abc import Sequence

import numpy as np


def block_causal(blocks: Sequence[int]) -> np.ndarray:
    """Every token sees its own block and all earlier ones.

    Args:
      blocks: length of each block; their sum is S.

    Returns:
      bool[S,S], True where the query (row) sees the key (column).

    Source: VAREdit, section 3.2 (source first, then the target scales).
    """
    index = np.repeat(np.arange(len(blocks)), blocks)  # [S]
    return index[:, None] >= index[None, :]


def causal(start: int, stop: int) -> np.ndarray:
    """Tokens `start` to `stop` see themselves and all earlier ones: bool[stop-start,stop]."""
    return np.tri(stop, dtype=bool)[start:]
