"""Rows of a batch that lack a condition or have wrong codes, so that EditAR reads what is left.

Dropped conditions are the paper's, for guidance. Random and wrong codes are ours, for small models
that are trained from scratch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, Key


class Dropped(NamedTuple):
    """The rows without their text, and the rows without their source picture."""

    text: Bool[Array, " B"]
    image: Bool[Array, " B"]


def draw_dropped(key: Key[Array, ""], rows: int, share: float) -> Dropped:
    """Draw which rows lose only their text, only their picture, or both: a `share` of each kind.

    Source: EditAR's release code.
    """
    u = jax.random.uniform(key, (rows,))
    return Dropped(text=(u < share) | (u > 1 - share), image=u < 2 * share)


def randomize_tokens(
    key: Key[Array, ""],
    source: Int32[Array, "B N"],
    target: Int32[Array, "B N"],
    share: float,
    codes: int,
) -> tuple[Int32[Array, "B N"], Int32[Array, "B N"], Bool[Array, " B"]]:
    """Put the same random codes into source and target, at some positions of a share of the rows.

    Random codes can only be predicted from the source at the same position. Small models learn to
    read there late, because most codes of a real picture follow from the codes before them.

    Args:
      key: for all draws.
      source: codes of the source picture.
      target: codes of the target picture.
      share: share of the rows.
      codes: V, size of the vocabulary.

    Returns:
      Source, target, and the rows with random codes.
    """
    row_key, rate_key, cell_key, code_key = jax.random.split(key, 4)
    is_random = jax.random.bernoulli(row_key, share, source.shape[:1])
    rate = jax.random.uniform(rate_key, (len(source), 1))
    cells = is_random[:, None] & (jax.random.uniform(cell_key, source.shape) < rate)
    noise = jax.random.randint(code_key, source.shape, 0, codes)
    source, target = (jnp.where(cells, noise, x) for x in (source, target))
    return source, target, is_random


def corrupt(
    key: Key[Array, ""],
    source: Int32[Array, "B N"] | None,
    target: Int32[Array, "B N"],
    share: float,
    codes: int,
) -> Int32[Array, "B N"]:
    """Return the target's codes as the model sees them: wrong in a share of the rows.

    Half of these rows are wrong everywhere. A target says much about itself: its first blue code
    says that the ball is to be blue. Where the code is wrong, only instruction and source can say
    so, and a small model learns to read them. Wrong codes are random or, in half of the rows, the
    source's codes, as if the edit had not begun.

    Args:
      key: for all draws.
      source: codes of the source picture; None: all wrong codes are random.
      target: codes of the target picture.
      share: share of the rows.
      codes: V, size of the vocabulary.
    """
    row_key, rate_key, cell_key, code_key, kind_key = jax.random.split(key, 5)
    is_corrupt = jax.random.bernoulli(row_key, share, target.shape[:1])
    rate = jnp.minimum(2 * jax.random.uniform(rate_key, (len(target), 1)), 1)
    cells = is_corrupt[:, None] & (jax.random.uniform(cell_key, target.shape) < rate)
    wrong = jax.random.randint(code_key, target.shape, 0, codes)
    if source is not None:
        is_source = jax.random.bernoulli(kind_key, 0.5, (len(target), 1))
        wrong = jnp.where(is_source, source, wrong)
    return jnp.where(cells, wrong, target)
