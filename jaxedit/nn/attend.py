"""Softmax attention from queries to keys and values, by the kernel that suits the device.

Scores of all queries and keys at once are the largest arrays of a long sequence, so they are never
in memory together: on TPU by the splash kernel, on NVIDIA cards by cuDNN's, elsewhere by blocks of
queries whose scores the backward pass computes again. Short sequences take the plain form.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.nn.splash import padded_length, splash
from jaxedit.ops import masks
from jaxedit.sharding.mesh import device_kind

# Scores of one head that may be in memory together, and from how many on a kernel is called.
MAX_SCORES, KERNEL_SCORES = 2**19, 2**18
# Measured on CPU, forward and backward: dense masks cost 1.4x (185 tokens) to 3x (777 tokens).
GROUP_TOKENS = 64
# A causal sequence is cut into this many blocks of queries, of at least so many each. Measured on
# CPU, forward and backward: one masked call costs 2.5x (159 tokens, in 5 blocks).
CAUSAL_BLOCKS, CAUSAL_BLOCK = 8, 32


def attend(
    queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
    """Softmax attention with logits `q . k`.

    Args:
      queries: [B,A,N,E], already scaled.
      keys: [B,A,S,E].
      values: [B,A,S,E].
      mask: bool, broadcastable to [B,A,N,S] by axes of length one, True = visible; or None.

    Returns:
      [B,A,N,E] in the dtype of `values`.
    """
    N, S = queries.shape[2], keys.shape[2]
    if _takes_splash(queries, keys) and (mask is None or mask.shape[1:3] == (1, 1)):
        rows = len(queries), S
        visible = None if mask is None else jnp.broadcast_to(mask[:, 0, 0], rows)
        return splash(queries, keys, values, np.full(N, S), visible)
    if _takes_cudnn(queries, keys) and mask is None:
        return _cudnn(queries, keys, values, is_causal=False)
    if N * S <= MAX_SCORES:
        return _attend_at_once(queries, keys, values, mask)
    return attend_by_blocks(queries, keys, values, mask, blocks=math.ceil(N * S / MAX_SCORES))


def attend_block_causal(
    queries: jax.Array, keys: jax.Array, values: jax.Array, blocks: Sequence[int]
) -> jax.Array:
    """Attention in which each token sees its own and all earlier blocks.

    A long block attends to its prefix without a mask, which is exact and skips the invisible
    part (0.4 of the square at 512 px); neighbouring short ones share one masked call.

    Args:
      queries: [B,A,S,E].
      keys: [B,A,S,E].
      values: [B,A,S,E].
      blocks: lengths that sum to S.

    Returns:
      [B,A,S,E].
    """
    if _takes_splash(queries, keys):
        return splash(queries, keys, values, np.repeat(np.cumsum(blocks), blocks))
    attended, start = [], 0
    for group in _groups(blocks):
        stop = start + sum(group)
        mask = None
        if len(group) > 1:
            mask = jnp.asarray(masks.block_causal((start, *group))[start:])[None, None]
        prefix = keys[:, :, :stop], values[:, :, :stop]
        attended.append(attend(queries[:, :, start:stop], *prefix, mask))
        start = stop
    return jnp.concatenate(attended, axis=2)


def attend_causal(
    queries: jax.Array, keys: jax.Array, values: jax.Array, visible: jax.Array | None = None
) -> jax.Array:
    """Attention in which each token sees itself and all earlier ones.

    Without a kernel it goes by blocks of queries, each with the keys up to its end, which skips
    nearly half.

    Args:
      queries: [B,A,S,E].
      keys: [B,A,S,E].
      values: [B,A,S,E].
      visible: bool[B,S], keys that others may see; a token always sees itself. None is all.

    Returns:
      [B,A,S,E].
    """
    S = queries.shape[2]
    if _takes_splash(queries, keys):
        return splash(queries, keys, values, np.arange(1, S + 1), visible, see_themselves=True)
    if _takes_cudnn(queries, keys) and visible is None:
        return _cudnn(queries, keys, values, is_causal=True)
    attended, block = [], max(CAUSAL_BLOCK, math.ceil(S / CAUSAL_BLOCKS))
    for start in range(0, S, block):
        stop = min(start + block, S)
        mask = jnp.asarray(masks.causal(start, stop))[None, None]
        if visible is not None:
            itself = jnp.eye(stop, dtype=bool)[None, None, start:]
            mask = mask & visible[:, None, None, :stop] | itself
        prefix = keys[:, :, :stop], values[:, :, :stop]
        attended.append(attend(queries[:, :, start:stop], *prefix, mask))
    return jnp.concatenate(attended, axis=2)


def kernel_length(length: int, head_width: int) -> int:
    """The length to which the device's kernel pads a sequence that attends to itself.

    Padded to it before all layers, the sequence is not copied in each.
    """
    if _is_on_tpu() and _is_long(length, length, head_width, 64):
        return padded_length(length)
    return length


def attend_by_blocks(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: jax.Array | None = None,
    *,
    blocks: int,
) -> jax.Array:
    """`attend` for one block of queries after the other; the backward pass repeats each.

    Args:
      queries: [B,A,N,E].
      keys: [B,A,S,E].
      values: [B,A,S,E].
      mask: as of `attend`.
      blocks: how many.
    """
    N = queries.shape[2]
    size = math.ceil(N / blocks)

    def split(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, 0), (0, 0), (0, blocks * size - N), (0, 0)))
        return jnp.moveaxis(x.reshape(*x.shape[:2], blocks, size, x.shape[-1]), 2, 0)

    is_same = mask is None or mask.shape[2] == 1  # for all queries

    @jax.checkpoint
    def one(queries: jax.Array, rows: jax.Array | None) -> jax.Array:
        return _attend_at_once(queries, keys, values, mask if is_same else rows)

    parts = (split(queries), None if is_same else split(mask))
    _, out = jax.lax.scan(lambda _, part: (None, one(*part)), None, parts)
    out = jnp.moveaxis(out, 0, 2)  # [B,A,blocks,size,E]
    return out.reshape(*out.shape[:2], blocks * size, -1)[:, :, :N]


def _attend_at_once(
    queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array | None
) -> jax.Array:
    logits = jnp.einsum("bhne,bhse->bhns", queries, keys, preferred_element_type=jnp.float32)
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(logits, axis=-1)
    return jnp.einsum("bhns,bhse->bhne", weights.astype(values.dtype), values)


def _cudnn(queries: jax.Array, keys: jax.Array, values: jax.Array, *, is_causal: bool) -> jax.Array:
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (queries, keys, values))  # [B,S,A,E]
    out = jax.nn.dot_product_attention(
        q, k, v, scale=1.0, is_causal=is_causal, implementation="cudnn"
    )
    return out.transpose(0, 2, 1, 3)


def _takes_splash(queries: jax.Array, keys: jax.Array) -> bool:
    N, E = queries.shape[2:]
    return _is_on_tpu() and _is_long(N, keys.shape[2], E, 64)


def _is_on_tpu() -> bool:
    return device_kind().startswith("TPU")


def _takes_cudnn(queries: jax.Array, keys: jax.Array) -> bool:
    """Half precision on Ampere or later: older cards are not called NVIDIA."""
    N, E = queries.shape[2:]
    is_half = queries.dtype in (jnp.bfloat16, jnp.float16)
    fits = is_half and E <= 128 and _is_long(N, keys.shape[2], E, 8)
    return fits and device_kind().startswith("NVIDIA")


def _is_long(queries: int, keys: int, head_width: int, multiple: int) -> bool:
    """Whether a kernel for head widths that are multiples of a number is worth its call."""
    return queries * keys >= KERNEL_SCORES and head_width % multiple == 0


def _groups(blocks: Sequence[int]) -> list[list[int]]:
    """Neighbouring blocks together as long as they have at most `GROUP_TOKENS`."""
    groups: list[list[int]] = []
    for length in blocks:
        if groups and sum(groups[-1]) + length <= GROUP_TOKENS:
            groups[-1].append(length)
        else:
            groups.append([length])
    return groups
