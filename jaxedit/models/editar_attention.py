"""Attention patterns of LlamaGen and EditAR: a whole sequence, a text prefix, and a row's cache.

Each class is an `AttentionPattern` for `EditARBlock`, which does not look into its arrays and
static sizes. Queries [B,S,A,E] and new keys and values [B,S,G,E] come as projected, not yet
rotated. Axis letters: G heads of keys and values, R rows per image, M = B*R.

Source: release code of LlamaGen and EditAR, for the results; the way to compute them is ours.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int32

from jaxedit.config import EditARConfig
from jaxedit.nn.attention import causal_attention, decode_attention, join_heads, map_spans
from jaxedit.nn.kv_cache import CacheLayout, KeysValues, SharedSpan
from jaxedit.ops import rope

Queries = Float[Array, "B S A E"]
Attended = Float[Array, "B S D"]


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CausalSequence:
    """A sequence from its start, in training or prefill: tokens see themselves and earlier tokens.

    Attributes:
      table: from `rope.sequence_table`.
      visible: tokens that others may see; None: all.
      layout: how keys and values are kept; None: they are not kept.
    """

    table: Float32[Array, "2 S E//2"]
    visible: Bool[Array, "B S"] | None = None
    layout: CacheLayout | None = None

    def __call__(
        self, queries: Queries, new: KeysValues, past: None
    ) -> tuple[Attended, KeysValues | None]:
        """See `AttentionPattern`."""
        A, E = queries.shape[2:]
        dtype = self.layout.dtype if self.layout else new.values.dtype
        q, k, v = (x.transpose(0, 2, 1, 3) for x in (queries, *new))  # heads first
        q = rope.rotate(q, self.table) * E**-0.5
        k = rope.rotate(k, self.table)
        q, k, v = (x.astype(dtype) for x in (q, k, v))
        shared = A // k.shape[1]  # heads that share keys and values
        each_k, each_v = (jnp.repeat(x, shared, axis=1) for x in (k, v))
        out = join_heads(causal_attention(q, each_k, each_v, self.visible))
        if self.layout is None:
            return out, None
        return out, KeysValues(*(self.layout.store(x.transpose(0, 2, 1, 3)) for x in (k, v)))


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TextPrefix:
    """The text of R rows of every image, after source images; only values are read.

    Rotary tables are zero at the text, and so are its queries and keys: a text token averages the
    values of all tokens that it sees. To later tokens, T text tokens are like a single token with
    key zero, the mean of their values, and score ln T. The same holds for the class token.

    Attributes:
      visible: tokens that others see; a token always sees itself.
      layout: how caches lie in memory.
      slots: length of the cache that is returned; its first slot stands for the text.
      heads: A.
      rows: R.
    """

    visible: Bool[Array, "M T"]
    layout: CacheLayout
    slots: int = dataclasses.field(metadata={"static": True})
    heads: int = dataclasses.field(metadata={"static": True})
    rows: int = dataclasses.field(metadata={"static": True})

    def __call__(
        self, queries: None, new: KeysValues, past: Sequence[SharedSpan]
    ) -> tuple[Attended, KeysValues]:
        """See `AttentionPattern`; `past` is what each row sees of source images."""
        v, weight = new.values, self.visible.astype(jnp.float32)[:, :, None, None]
        own = jnp.cumsum(v * weight, 1) + v * (1 - weight)  # invisible tokens see themselves
        counts = jnp.cumsum(weight, 1) + (1 - weight)
        summed = jnp.repeat(own, self.heads // own.shape[2], axis=2)  # [M,T,A,E]
        if past:
            below, count = self._sum_of_images(past)
            summed, counts = summed + below, counts + count
        mean = jnp.sum(v * weight, 1, keepdims=True) / jnp.sum(weight, 1, keepdims=True)
        values = self.layout.grow(self.layout.store(mean), self.slots)
        cache = KeysValues(jnp.zeros_like(values), values)
        return (summed / counts).reshape(*v.shape[:2], -1), cache

    def _sum_of_images(self, past: Sequence[SharedSpan]) -> tuple[jax.Array, int]:
        """Return the sum f32[M,1,A,E] of the values of each row's image, and their number."""
        N = self.layout.length(past[0].cache.values)
        B = len(self.visible) // self.rows
        ones = jnp.ones((B, self.rows, self.heads, N))
        summed = map_spans(self.layout.mix, ones, [(s.cache.values, s.rows) for s in past])
        return summed.reshape(B * self.rows, 1, self.heads, -1), N


class RowCache(NamedTuple):
    """The past that the newest tokens attend to: each row's own cache, and the shared prefix."""

    own: KeysValues
    shared: Sequence[SharedSpan]


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NextTokens:
    """The next W tokens of each row, which see each other causally: the block's input is [1,M*W,D].

    Channels keep their places when they are rotated: on TPU, moving them costs more than the
    products.

    Attributes:
      table: from `query_key_table`, of a position that all tokens have, or of each token's.
      bias: added to the scores of each row's own slots; -inf = not seen.
      slot: first slot in which new keys and values are kept, of all rows or of each image's rows.
      layout: how caches lie in memory.
      rows: R.
    """

    table: Float32[Array, "2 _ D+GE"]
    bias: Float32[Array, "M W 1 S"]
    slot: Int32[Array, " P"]
    layout: CacheLayout
    rows: int = dataclasses.field(metadata={"static": True})

    def __call__(
        self, queries: Queries, new: KeysValues, past: RowCache
    ) -> tuple[Attended, KeysValues]:
        """See `AttentionPattern`."""
        _, n, A, E = queries.shape
        M, W = self.bias.shape[:2]
        both = jnp.concatenate([x.reshape(1, n, -1) for x in (queries, new.keys)], axis=-1)
        q, k = jnp.split(rope.rotate_channels(both, self.table), (A * E,), axis=-1)
        k, v = (x.reshape(M, W, -1, E) for x in (k, new.values))
        own = KeysValues(
            self.layout.write(past.own.keys, k, self.slot),
            self.layout.write(past.own.values, v, self.slot),
        )
        q = q.reshape(M // self.rows, self.rows * W, A, E)
        out = decode_attention(self.layout, q, own, self.bias, past.shared)
        return out.reshape(1, n, A * E), own


def query_key_table(
    table: Float32[Array, "2 S half"], config: EditARConfig
) -> Float32[Array, "2 S _"]:
    """Return the table that rotates and scales queries, and rotates keys.

    `table` is a part of `rope.sequence_table`.
    """
    queries = rope.channel_table(table * config.head_width**-0.5, config.heads)
    return jnp.concatenate([queries, rope.channel_table(table, config.groups)], axis=-1)
