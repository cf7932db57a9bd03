"""Attention masks of sequences that consist of blocks; True where a query sees a key."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def block_causal(blocks: Sequence[int]) -> Bool[np.ndarray, "S S"]:
    """Let every token see its own block and all earlier blocks.

    Args:
      blocks: length of each block; the lengths add up to S.

    Returns:
      The mask, query (row) by key (column).

    Source: VAREdit, section 3.2 (source first, then the target scales).
    """
    index = np.repeat(np.arange(len(blocks)), blocks)  # [S]
    return index[:, None] >= index[None, :]


def causal(start: int, stop: int) -> Bool[np.ndarray, "queries stop"]:
    """Let each of the tokens `start` ... `stop` - 1 see itself and all earlier tokens."""
    return np.tri(stop, dtype=bool)[start:]
