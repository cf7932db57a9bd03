"""Rows of a batch that lack a condition, or whose codes are wrong: they make EditAR read the rest.

Dropped conditions are the paper's, for guidance. Random and spoilt codes are ours, for small models
that are trained from nothing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Dropped(NamedTuple):
    """Rows bool[B] that do without their text, and without their source picture."""

    text: jax.Array
    image: jax.Array


def draw_dropped(key: jax.Array, rows: int, share: float) -> Dropped:
    """Draw which rows lose their text, their picture, or both: `share` of the rows each.

    Args:
      key: key[].
      rows: B.
      share: of each kind; one uniform number decides about a row.

    Source: EditAR's release code.
    """
    u = jax.random.uniform(key, (rows,))
    return Dropped(text=(u < share) | (u > 1 - share), image=u < 2 * share)


def randomize_tokens(
    key: jax.Array, source: jax.Array, target: jax.Array, share: float, codes: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Put random codes, the same in source and target, at a share of positions of some rows.

    They can only be predicted by reading the source at the same position, which small models
    otherwise find out late: of a real picture most codes follow from those before them.

    Args:
      key: key[].
      source: i32[B,N].
      target: i32[B,N].
      share: of the rows.
      codes: V.

    Returns:
      source, target, and which rows have random codes, bool[B].
    """
    row_key, rate_key, cell_key, code_key = jax.random.split(key, 4)
    is_random = jax.random.bernoulli(row_key, share, source.shape[:1])
    rate = jax.random.uniform(rate_key, (len(source), 1))
    cells = is_random[:, None] & (jax.random.uniform(cell_key, source.shape) < rate)
    noise = jax.random.randint(code_key, source.shape, 0, codes)
    source, target = (jnp.where(cells, noise, x) for x in (source, target))
    return source, target, is_random


def corrupt(
    key: jax.Array, source: jax.Array | None, target: jax.Array, share: float, codes: int
) -> jax.Array:
    """Put wrong codes in what some rows read of the target: everywhere in half of these rows.

    A target tells most of itself: its first blue code says that the ball is to be blue. Where that
    is spoilt, only the instruction and the source tell, and a small model learns to read them.
    The wrong codes are random ones or, in half of the rows, the source's, as if the edit had not
    begun.

    Args:
      key: key[].
      source: i32[B,N], or None: all wrong codes are random.
      target: i32[B,N].
      share: of the rows.
      codes: V.

    Returns:
      i32[B,N].
    """
    row_key, rate_key, cell_key, code_key, kind_key = jax.random.split(key, 5)
    is_spoilt = jax.random.bernoulli(row_key, share, target.shape[:1])
    rate = jnp.minimum(2 * jax.random.uniform(rate_key, (len(target), 1)), 1)
    cells = is_spoilt[:, None] & (jax.random.uniform(cell_key, target.shape) < rate)
    wrong = jax.random.randint(code_key, target.shape, 0, codes)
    if source is not None:
        is_late = jax.random.bernoulli(kind_key, 0.5, (len(target), 1))
        wrong = jnp.where(is_late, source, wrong)
    return jnp.where(cells, wrong, target)
