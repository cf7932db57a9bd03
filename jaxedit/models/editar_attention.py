"""What tokens of LlamaGen and EditAR see: a whole sequence, a text prefix, or one row's cache.

Each class is an `AttentionPattern` for `EditARBlock`: arrays and static sizes that the block does
not look into. Queries [B,S,A,E] and new keys and values [B,S,G,E] come unrotated, as projected.

Source: release code of LlamaGen and EditAR, for what is computed; how is ours.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import EditARConfig
from jaxedit.nn.attention import causal_attention, decode_attention, join_heads, map_spans
from jaxedit.nn.kv_cache import CacheLayout, KeysValues, SharedSpan
from jaxedit.ops import rope


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CausalSequence:
    """A sequence from its start, in training or prefill: tokens see themselves and earlier ones.

    Attributes:
      table: f32[2,S,E/2], from `rope.sequence_table`.
      visible: bool[B,S], keys that others may see; None is all.
      layout: in which keys and values are kept; None keeps none.
    """

    table: jax.Array
    visible: jax.Array | None = None
    layout: CacheLayout | None = None

    def __call__(
        self, queries: jax.Array, new: KeysValues, past: None
    ) -> tuple[jax.Array, KeysValues | None]:
        """See `AttentionPattern`."""
        A, E = queries.shape[2:]
        dtype = self.layout.dtype if self.layout else new.values.dtype
        q, k, v = (x.transpose(0, 2, 1, 3) for x in (queries, *new))  # heads first
        q = rope.rotate(q.astype(jnp.float32), self.table) * E**-0.5
        k = rope.rotate(k.astype(jnp.float32), self.table)
        q, k, v = (x.astype(dtype) for x in (q, k, v))
        shared = A // k.shape[1]  # heads that share keys and values
        each_k, each_v = (jnp.repeat(x, shared, axis=1) for x in (k, v))
        out = join_heads(causal_attention(q, each_k, each_v, self.visible))
        if self.layout is None:
            return out, None
        return out, KeysValues(*(self.layout.store(x.transpose(0, 2, 1, 3)) for x in (k, v)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TextPrefix:
    """The text of R rows of every picture, on top of source images; reads values only.

    Rotary tables are zero at the text, so its queries and keys are: a token averages the values of
    all that it sees. To later tokens T text tokens are one with key zero, the mean of their values,
    and score ln T. The same holds for the class token.

    Attributes:
      visible: bool[B*R,T], tokens that others see; a token always sees itself.
      layout: of the caches.
      slots: of the cache that is returned, whose first one stands for the text.
      heads: A.
      rows: R.
    """

    visible: jax.Array
    layout: CacheLayout
    slots: int = dataclasses.field(metadata={"static": True})
    heads: int = dataclasses.field(metadata={"static": True})
    rows: int = dataclasses.field(metadata={"static": True})

    def __call__(
        self, queries: None, new: KeysValues, past: Sequence[SharedSpan]
    ) -> tuple[jax.Array, KeysValues]:
        """See `AttentionPattern`; `past` is what each row sees of source images."""
        v, weight = new.values, self.visible.astype(jnp.float32)[:, :, None, None]
        own = jnp.cumsum(v * weight, 1) + v * (1 - weight)  # the unseen see themselves
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
        """Sum f32[B*R,1,A,E] of the values of the image that each row sees, and their number."""
        N = self.layout.length(past[0].cache.values)
        B = len(self.visible) // self.rows
        ones = jnp.ones((B, self.rows, self.heads, N))
        summed = map_spans(self.layout.mix, ones, [(s.cache.values, s.rows) for s in past])
        return summed.reshape(B * self.rows, 1, self.heads, -1), N


class RowCache(NamedTuple):
    """What the newest tokens see in one layer: each row's own cache, and what rows share."""

    own: KeysValues
    shared: Sequence[SharedSpan]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NextToken:
    """One more token of each row, all at one position: x is [1,M,D] of M = B*R rows.

    Channels never leave their places for rotation: on TPU moving them costs more than the products.

    Attributes:
      table: f32[2,1,D+GE], see `query_key_table`.
      bias: f32[M,1,1,S], added to the scores of each row's own slots; -inf = not seen.
      slot: i32[], in which the new keys and values are kept.
      layout: of the caches.
      rows: R.
    """

    table: jax.Array
    bias: jax.Array
    slot: jax.Array
    layout: CacheLayout
    rows: int = dataclasses.field(metadata={"static": True})

    def __call__(
        self, queries: jax.Array, new: KeysValues, past: RowCache
    ) -> tuple[jax.Array, KeysValues]:
        """See `AttentionPattern`."""
        _, M, A, E = queries.shape
        both = jnp.concatenate([x.reshape(1, M, -1) for x in (queries, new.keys)], axis=-1)
        q, k = jnp.split(rope.rotate_channels(both, self.table), (A * E,), axis=-1)
        k, v = (x.reshape(M, 1, -1, E) for x in (k, new.values))
        own = KeysValues(
            self.layout.write(past.own.keys, k, self.slot),
            self.layout.write(past.own.values, v, self.slot),
        )
        q = q.reshape(M // self.rows, self.rows, A, E)
        out = decode_attention(self.layout, q, own, self.bias, past.shared)
        return out.reshape(1, M, A * E), own


def query_key_table(table: jax.Array, config: EditARConfig) -> jax.Array:
    """Return the table f32[2,S,D+GE] that rotates and scales queries and rotates keys.

    Args:
      table: f32[2,S,E/2], from `rope.sequence_table`.
      config: sizes.
    """
    queries = rope.channel_table(table * config.head_width**-0.5, config.heads)
    return jnp.concatenate([queries, rope.channel_table(table, config.groups)], axis=-1)
