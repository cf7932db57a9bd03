"""What one training step sees."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxedit.data.sources import Row
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.toybox import ToyPair

Array = Any  # numpy on the host, jax inside a step


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EditBatch:
    """B pairs of pictures with their tokenised instructions.

    Attributes:
      source, target: u8[B,H,W,3].
      text_ids: i32[B,T], right padded.
      text_mask: bool[B,T], True at tokens.
      mask: bool[B,H,W], True where the edit may change pixels; None where that is not known.
      valid: bool[B], rows that count; None: all. Only a last batch of validation has others.
    """

    source: Array
    target: Array
    text_ids: Array
    text_mask: Array
    mask: Array | None
    valid: Array | None = None


def collate(rows: Sequence[Row | ToyPair], tokenizer: TextTokenizer, text_tokens: int) -> EditBatch:
    """Stack rows of one picture size and tokenise their instructions in one call."""
    ids, text_mask = tokenizer([row.instruction for row in rows], text_tokens)
    masks = [row.mask for row in rows]
    return EditBatch(
        source=np.stack([row.source for row in rows]),
        target=np.stack([row.target for row in rows]),
        text_ids=ids,
        text_mask=text_mask,
        mask=None if any(m is None for m in masks) else np.stack(masks),
    )
