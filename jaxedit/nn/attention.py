"""Softmax attention from queries to keys and values, by the kernel that suits the device.

On TPU long sequences go to the splash kernel, on NVIDIA cards to cuDNN, elsewhere they are attended
block by block. Short sequences take the plain form. Heads come before positions, as in the caches.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

from jaxedit.nn.cache_kernel import cache_attention
from jaxedit.nn.kernels import (
    Keys,
    Mask,
    Queries,
    blockwise_attention,
    cudnn_attention,
    is_on_tpu,
    splash_attention,
    takes_cudnn,
    takes_splash,
)
from jaxedit.nn.kv_cache import CacheLayout, KeysValues, KVCache, SharedSpan
from jaxedit.ops import masks

# Neighbouring blocks of up to this many tokens together share a masked call. Measured on CPU,
# forward and backward: a mask over all tokens costs 1.4x (185 tokens) to 3x (777 tokens).
GROUP_TOKENS = 64
# A causal sequence is cut into this many blocks of queries, each at least this long. Measured on
# CPU, forward and backward: a single masked call costs 2.5x (159 tokens, in 5 blocks).
CAUSAL_BLOCKS, CAUSAL_BLOCK = 8, 32


@runtime_checkable
class AttentionPattern(Protocol):
    """The tokens that new tokens of a layer see, and what is kept of the new tokens.

    Training, prefill and decoding differ in the pattern alone: a block takes a pattern and the
    cache that this pattern needs. Patterns are pytrees, often without leaves, so that they pass
    through `nn.scan` and `nn.remat` as ordinary arguments.
    """

    def __call__(self, queries: Any, new: KeysValues, past: Any) -> tuple[jax.Array, Any]:
        """Attend from queries to their own keys and values `new`, and to the past.

        Returns:
          The attended values, and what a later pattern needs of this layer, or None.
        """


def dot_product_attention(
    queries: Queries, keys: Keys, values: Keys, mask: Mask | None = None
) -> Queries:
    """Attend with logits `q . k`, which are not scaled here; without a mask all keys are seen."""
    N, S = queries.shape[2], keys.shape[2]
    if takes_splash(queries, keys) and (mask is None or mask.shape[1:3] == (1, 1)):
        rows = len(queries), S
        visible = None if mask is None else jnp.broadcast_to(mask[:, 0, 0], rows)
        return splash_attention(queries, keys, values, np.full(N, S), visible)
    if takes_cudnn(queries, keys) and mask is None:
        return cudnn_attention(queries, keys, values, is_causal=False)
    return blockwise_attention(queries, keys, values, mask)


def extend_attention(
    queries: Queries,
    new: KeysValues,
    cache: KVCache,
    start: int,
    first: KeysValues | None = None,
) -> Queries:
    """Attend to the first `start` positions of a cache, to new tokens, and to `first` if given."""
    if is_on_tpu() and start and queries.shape[-1] % 64 == 0:
        new = new if first is None else joined(first, new)
        return cache_attention(queries, new, cache, start)
    seen = cache.followed_by(new, start)
    return dot_product_attention(queries, *(seen if first is None else joined(first, seen)))


def joined(first: KeysValues, then: KeysValues) -> KeysValues:
    """Join the keys and values of two sequences."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=2), first, then)


def block_causal_attention(queries: Keys, keys: Keys, values: Keys, blocks: Sequence[int]) -> Keys:
    """Attend from each token to its own and all earlier blocks, whose lengths sum to S.

    A long block attends to its prefix without a mask, which is exact and skips the invisible
    part (0.4 of the square at 512 px); neighbouring short blocks share a masked call.
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
    queries: Keys, keys: Keys, values: Keys, visible: Bool[Array, "B S"] | None = None
) -> Keys:
    """Attend from each token to itself and to all earlier tokens that are visible; None: all.

    Without a kernel, each block of queries attends to the keys up to its end, which skips nearly
    half of the products.
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
    queries: Float[Array, "B n A E"],
    own: KeysValues,
    bias: Float32[Array, "M W 1 S"],
    shared: Sequence[SharedSpan],
) -> Float32[Array, "B n A E"]:
    """Attend, in a single softmax, to what rows share and to what each row has of its own.

    Args:
      layout: how all caches lie in memory.
      queries: of W tokens of each of R rows, already scaled; n = R * W.
      own: a cache of S positions for each of M = B * R rows.
      bias: added to the scores of `own`; -inf = not seen.
      shared: spans whose rows sum to R; or none.
    """
    (A, E), W = queries.shape[2:], bias.shape[1]
    each = layout.score(queries.reshape(-1, W, A, E), own.keys) + bias
    scores = [each.reshape(*queries.shape[:3], -1)]
    if shared:
        spans = [(s.cache.keys, s.rows * W) for s in shared]
        scores.append(map_spans(layout.score, queries, spans))
    # A softmax over both arrays: they have a common maximum and a common sum.
    top = jnp.stack([s.max(-1, keepdims=True) for s in scores]).max(0)
    weights = [jnp.exp(s - top) for s in scores]
    total = sum(w.sum(-1, keepdims=True) for w in weights)
    mixed = layout.mix(weights[0].reshape(-1, W, A, weights[0].shape[-1]), own.values)
    mixed = mixed.reshape(queries.shape)
    if shared:
        spans = [(s.cache.values, s.rows * W) for s in shared]
        mixed += map_spans(layout.mix, weights[1], spans)
    return mixed / total


def map_spans(
    function: Callable[[jax.Array, jax.Array], jax.Array],
    x: Float[Array, "B R A n"],
    spans: Sequence[tuple[Float[Array, "..."], int]],
) -> Float[Array, "B R A m"]:
    """Apply `function` to some rows of `x` and their cache, for every span; join the results.

    Args:
      function: from [P,R,A,n] and a cache of P images to [P,R,A,m].
      x: R rows of B images.
      spans: a cache, of B images or the same for all, and the number of its rows.
    """
    results, first, B = [], 0, len(x)
    for cache, rows in spans:
        part = x[:, first : first + rows]
        out = function(part.reshape(len(cache), -1, *x.shape[2:]), cache)
        results.append(out.reshape(B, rows, *out.shape[2:]))
        first += rows
    return results[0] if len(results) == 1 else jnp.concatenate(results, axis=1)


def split_heads(x: Float[Array, "B S D"], heads: int) -> Float[Array, "B {heads} S E"]:
    """Split channels into heads."""
    B, S, D = x.shape
    return x.reshape(B, S, heads, D // heads).transpose(0, 2, 1, 3)


def join_heads(x: Float[Array, "B A S E"]) -> Float[Array, "B S A*E"]:
    """Invert `split_heads`."""
    B, A, S, E = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, S, A * E)


def _groups(blocks: Sequence[int]) -> list[list[int]]:
    """Group neighbouring blocks of up to `GROUP_TOKENS` tokens together."""
    groups: list[list[int]] = []
    for length in blocks:
        if groups and sum(groups[-1]) + length <= GROUP_TOKENS:
            groups[-1].append(length)
        else:
            groups.append([length])
    return groups
