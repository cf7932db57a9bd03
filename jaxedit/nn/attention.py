"""Softmax attention from queries to keys and values, by the kernel that suits the device.

On TPU long sequences go to the splash kernel, on NVIDIA cards to cuDNN's, elsewhere by blocks of
queries. Short sequences take the plain form. Heads come before positions, [B,A,S,E]: caches are
read in that order.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.nn.kernels import (
    blockwise_attention,
    cudnn_attention,
    splash_attention,
    takes_cudnn,
    takes_splash,
)
from jaxedit.nn.kv_cache import CacheLayout, KeysValues, SharedSpan
from jaxedit.ops import masks

# Measured on CPU, forward and backward: dense masks cost 1.4x (185 tokens) to 3x (777 tokens).
GROUP_TOKENS = 64
# A causal sequence is cut into this many blocks of queries, of at least so many each. Measured on
# CPU, forward and backward: one masked call costs 2.5x (159 tokens, in 5 blocks).
CAUSAL_BLOCKS, CAUSAL_BLOCK = 8, 32


class AttentionPattern(Protocol):
    """What new tokens of a layer see, and what is kept of them.

    It is what differs between training, prefill and decoding: a block takes one, with the cache
    that it needs. Patterns are pytrees, often without leaves, so that they pass through `nn.scan`
    and `nn.remat` as ordinary arguments.
    """

    def __call__(self, queries: jax.Array, new: KeysValues, past: Any) -> tuple[jax.Array, Any]:
        """Attend from queries, whose own keys and values are `new`, also to the past.

        Returns:
          What the queries found, and what a later pattern needs of this layer, or None.
        """


def dot_product_attention(
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
    if takes_splash(queries, keys) and (mask is None or mask.shape[1:3] == (1, 1)):
        rows = len(queries), S
        visible = None if mask is None else jnp.broadcast_to(mask[:, 0, 0], rows)
        return splash_attention(queries, keys, values, np.full(N, S), visible)
    if takes_cudnn(queries, keys) and mask is None:
        return cudnn_attention(queries, keys, values, is_causal=False)
    return blockwise_attention(queries, keys, values, mask)


def block_causal_attention(
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
    if takes_splash(queries, keys):
        return splash_attention(queries, keys, values, np.repeat(np.cumsum(blocks), blocks))
    attended, start = [], 0
    for group in _groups(blocks):
        stop = start + sum(group)
        mask = None
        if len(group) > 1:
            mask = jnp.asarray(masks.block_causal((start, *group))[start:])[None, None]
        prefix = keys[:, :, :stop], values[:, :, :stop]
        attended.append(dot_product_attention(queries[:, :, start:stop], *prefix, mask))
        start = stop
    return jnp.concatenate(attended, axis=2)


def causal_attention(
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
    if takes_splash(queries, keys):
        ends = np.arange(1, S + 1)
        return splash_attention(queries, keys, values, ends, visible, see_themselves=True)
    if takes_cudnn(queries, keys) and visible is None:
        return cudnn_attention(queries, keys, values, is_causal=True)
    attended, block = [], max(CAUSAL_BLOCK, math.ceil(S / CAUSAL_BLOCKS))
    for start in range(0, S, block):
        stop = min(start + block, S)
        mask = jnp.asarray(masks.causal(start, stop))[None, None]
        if visible is not None:
            itself = jnp.eye(stop, dtype=bool)[None, None, start:]
            mask = mask & visible[:, None, None, :stop] | itself
        prefix = keys[:, :, :stop], values[:, :, :stop]
        attended.append(dot_product_attention(queries[:, :, start:stop], *prefix, mask))
    return jnp.concatenate(attended, axis=2)


def decode_attention(
    layout: CacheLayout,
    queries: jax.Array,
    own: KeysValues,
    bias: jax.Array,
    shared: Sequence[SharedSpan],
) -> jax.Array:
    """One softmax over what rows share and what each has of its own.

    Args:
      layout: of all caches.
      queries: f32[B,R,A,E], already scaled.
      own: a cache for each of the B*R rows.
      bias: f32[B*R,1,1,S], added to the scores of `own`; -inf = not seen.
      shared: spans whose rows sum to R; or none.

    Returns:
      f32[B,R,A,E].
    """
    B, R, A, E = queries.shape
    each = layout.score(queries.reshape(B * R, 1, A, E), own.keys) + bias
    scores = [each.reshape(B, R, A, -1)]
    if shared:
        scores.append(map_spans(layout.score, queries, [(s.cache.keys, s.rows) for s in shared]))
    top = jnp.stack([s.max(-1, keepdims=True) for s in scores]).max(0)
    weights = [jnp.exp(s - top) for s in scores]
    total = sum(w.sum(-1, keepdims=True) for w in weights)
    mixed = layout.mix(weights[0].reshape(B * R, 1, A, -1), own.values).reshape(B, R, A, E)
    if shared:
        mixed += map_spans(layout.mix, weights[1], [(s.cache.values, s.rows) for s in shared])
    return mixed / total


def map_spans(
    function: Callable[[jax.Array, jax.Array], jax.Array],
    x: jax.Array,
    spans: Sequence[tuple[jax.Array, int]],
) -> jax.Array:
    """`function(x of some rows, their cache)` of every span, joined.

    Args:
      function: [P,R,...] and a cache [P,...] to [P,R,...].
      x: [B,R,...].
      spans: cache [B,...] or [1,...] and number of rows.

    Returns:
      [B,R,...].
    """
    results, first, B = [], 0, len(x)
    for cache, rows in spans:
        part = x[:, first : first + rows]
        out = function(part.reshape(len(cache), -1, *x.shape[2:]), cache)
        results.append(out.reshape(B, rows, *out.shape[2:]))
        first += rows
    return results[0] if len(results) == 1 else jnp.concatenate(results, axis=1)


def split_heads(x: jax.Array, heads: int) -> jax.Array:
    """[B,S,C] to [B,A,S,E]."""
    B, S, C = x.shape
    return x.reshape(B, S, heads, C // heads).transpose(0, 2, 1, 3)


def join_heads(x: jax.Array) -> jax.Array:
    """[B,A,S,E] to [B,S,C]."""
    B, A, S, E = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, S, A * E)


def _groups(blocks: Sequence[int]) -> list[list[int]]:
    """Neighbouring blocks together as long as they have at most `GROUP_TOKENS`."""
    groups: list[list[int]] = []
    for length in blocks:
        if groups and sum(groups[-1]) + length <= GROUP_TOKENS:
            groups[-1].append(length)
        else:
            groups.append([length])
    return groups
