"""The batch of pairs that a training step takes."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, no_type_check

import jax
import numpy as np
from jaxtyping import ArrayLike, Bool, Int32, UInt8

from jaxedit.data.sources import Row
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.data.toybox import ToyPair


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EditBatch:
    """B pairs of images with their tokenised instructions; numpy on the host, jax inside a step.

    Pictures are None in batches of stored codes, if the loss needs nothing else of them.
    """

    source: UInt8[ArrayLike, "B H W 3"] | None
    target: UInt8[ArrayLike, "B H W 3"] | None
    text_ids: Int32[ArrayLike, "B T"]  # padded on the right
    text_mask: Bool[ArrayLike, "B T"]  # True at tokens, False at padding
    mask: Bool[ArrayLike, "B H W"] | None  # True where the edit may change pixels; None: unknown
    # False at rows that only fill the last batch of a validation; None: all rows count
    valid: Bool[ArrayLike, " B"] | None = None
    codes: Int32[ArrayLike, "B 2 N"] | None = None  # of source and target; None: not stored


class Examples(NamedTuple):
    """The rows of a sample sheet.

    Attributes:
      batch: the rows.
      instructions: of each row, in words.
    """

    batch: EditBatch
    instructions: list[str]


def examples_of(
    rows: Sequence[Row | ToyPair], tokenizer: TextTokenizer, text_tokens: int
) -> Examples:
    """Collate rows, and keep their instructions; see `collate`."""
    instructions = [row.instruction for row in rows]
    return Examples(collate(rows, tokenizer, text_tokens), instructions)


def collate(rows: Sequence[Row | ToyPair], tokenizer: TextTokenizer, text_tokens: int) -> EditBatch:
    """Stack rows with pictures of equal size, and tokenise their instructions."""
    ids, text_mask = tokenizer([row.instruction for row in rows], text_tokens)
    return EditBatch(
        source=_stack([row.source for row in rows]),
        target=_stack([row.target for row in rows]),
        text_ids=ids,
        text_mask=text_mask,
        mask=_stack([row.mask for row in rows]),
        codes=_stack([row.codes if isinstance(row, Row) else None for row in rows]),
    )


def _stack(arrays: Sequence[np.ndarray | None]) -> Any:
    """Stack arrays; None if one of them is not known."""
    return None if any(array is None for array in arrays) else np.stack(arrays)
