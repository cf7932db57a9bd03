"""Self- and cross-attention, the key-value cache, and the ways a sequence of blocks attends.

Heads come before positions everywhere, [B,A,S,E]: that is the order in which caches are read.
An *attention pattern* is a static rule that says what new tokens see and what is kept of them.
Patterns are pytrees without leaves, so that they pass through `nn.scan` and `nn.remat` as ordinary
arguments.
"""

import dataclasses
import math
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxedit.nn.attend import attend, attend_block_causal
from jaxedit.nn.layers import dense
from jaxedit.ops import rope

MAX_LOG_SCALE = math.log(100.0)


class KeysValues(NamedTuple):
    """Keys and values [B,A,S,E] of one layer, or [L,B,A,S,E] of several."""

    keys: jax.Array
    values: jax.Array


class KVCache(NamedTuple):
    """Keys and values of all layers, [L,B,A,S,E] each, and the layer whose turn it is, i32[].

    Inside a scan over layers the cache is only read; what the layers add is written afterwards, all
    layers at once. (Written inside the loop it is copied whole in every iteration by XLA:CPU.)
    """

    keys: jax.Array
    values: jax.Array
    layer: jax.Array

    @classmethod
    def empty(cls, shape: tuple[int, int, int, int, int], dtype: Any) -> "KVCache":
        """Zeros of shape (L, B, A, S, E)."""
        return cls(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), jnp.zeros((), jnp.int32))

    def write(self, new: KeysValues, start: int) -> "KVCache":
        """The cache with `new` [L,B,A,N,E] at positions `start` and on."""
        keys, values = (
            jax.lax.dynamic_update_slice(old, added, (0, 0, 0, start, 0))
            for old, added in zip((self.keys, self.values), new, strict=True)
        )
        return self._replace(keys=keys, values=values)

    def followed_by(self, new: KeysValues, start: int) -> KeysValues:
        """The first `start` positions of the current layer, then `new` [B,A,N,E]."""

        def join(cache: jax.Array, added: jax.Array) -> jax.Array:
            _, B, A, _, E = cache.shape
            old = jax.lax.dynamic_slice(cache, (self.layer, 0, 0, 0, 0), (1, B, A, start, E))
            return jnp.concatenate([old[0], added], axis=2)

        return KeysValues(join(self.keys, new.keys), join(self.values, new.values))


class AttentionPattern(Protocol):
    """What new tokens see, and what is kept of them."""

    def __call__(self, queries: jax.Array, new: KeysValues, past: Any) -> tuple[jax.Array, Any]:
        """Attend from queries [B,A,N,E], whose own keys and values are `new`, also to the past.

        Returns:
          [B,A,N,E], and what a later pattern needs of this layer, or None.
        """


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class BlockCausal:
    """A sequence of blocks from the start: each sees itself and all earlier ones."""

    blocks: tuple[int, ...]
    keep: bool = False  # whether keys and values are returned

    def __call__(
        self, queries: jax.Array, new: KeysValues, past: None
    ) -> tuple[jax.Array, KeysValues | None]:
        """See `AttentionPattern`."""
        attended = attend_block_causal(queries, *new, self.blocks)
        return attended, new if self.keep else None


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Extend:
    """One more block, which sees itself and the first `start` tokens of the cache."""

    start: int

    def __call__(
        self, queries: jax.Array, new: KeysValues, past: KVCache
    ) -> tuple[jax.Array, KeysValues]:
        """See `AttentionPattern`."""
        return attend(queries, *past.followed_by(new, self.start)), new


class SelfAttention(nn.Module):
    """Cosine attention with a learned scale per head and rotary positions."""

    heads: int
    std: float
    proj_std: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, table: jax.Array, pattern: AttentionPattern, past: Any
    ) -> tuple[jax.Array, Any]:
        """Attend from every token.

        Args:
          x: [B,N,C].
          table: f32[2,N,E/2], from `rope.rotary_table`.
          pattern: what the tokens see.
          past: what the pattern needs of earlier tokens.

        Returns:
          [B,N,C] in the compute dtype, and what the pattern keeps.

        Source: Swin Transformer V2, section 3.3 (cosine attention).
        """
        B, N, C = x.shape
        zeros = nn.initializers.zeros
        q_bias, v_bias = self.param("q_bias", zeros, (C,)), self.param("v_bias", zeros, (C,))
        log_scale = self.param("scale", nn.initializers.constant(math.log(4.0)), (self.heads,))
        qkv = dense(3 * C, self.std, self.dtype, name="qkv", use_bias=False, parts=3)(x)
        qkv = qkv.reshape(B, N, 3, self.heads, C // self.heads).transpose(2, 0, 3, 1, 4)

        scale = jnp.exp(jnp.minimum(log_scale, MAX_LOG_SCALE))
        q = unit(qkv[0] + by_head(q_bias, self.heads)) * scale[None, :, None, None]
        q, k = rope.rotate(q, table), rope.rotate(unit(qkv[1]), table)
        v = qkv[2] + by_head(v_bias, self.heads).astype(self.dtype)
        out, kept = pattern(q.astype(self.dtype), KeysValues(k.astype(self.dtype), v), past)
        return dense(C, self.proj_std, self.dtype, name="proj")(join_heads(out)), kept


class CrossAttention(nn.Module):
    """Attention from image tokens to text tokens."""

    heads: int
    width: int
    std: float
    proj_std: float
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Declare q, kv, v_bias and proj."""
        self.q = dense(self.width, self.std, self.dtype)
        self.kv = dense(2 * self.width, self.std, self.dtype, use_bias=False, parts=2)
        self.v_bias = self.param("v_bias", nn.initializers.zeros, (self.width,))
        self.proj = dense(self.width, self.proj_std, self.dtype)

    def keys_values(self, text: jax.Array) -> KeysValues:
        """Keys and values [B,A,T,E] of text tokens [B,T,C]."""
        k, v = jnp.moveaxis(self.kv(text), 2, 0)  # [B,T,C] each
        v = v + self.v_bias[None, None].astype(self.dtype)
        return KeysValues(split_heads(k, self.heads), split_heads(v, self.heads))

    def __call__(self, x: jax.Array, text: KeysValues, mask: jax.Array) -> jax.Array:
        """Attend from x[B,N,C] to `keys_values(...)` where mask bool[B,T]; returns [B,N,C]."""
        E = self.width // self.heads
        q = split_heads(self.q(x), self.heads) * E**-0.5
        return self.proj(join_heads(attend(q, *text, mask[:, None, None, :])))


def unit(x: jax.Array) -> jax.Array:
    """Vectors of length one over the last axis, in f32; gradient finite at zero."""
    x = x.astype(jnp.float32)
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


def split_heads(x: jax.Array, heads: int) -> jax.Array:
    """[B,S,C] to [B,A,S,E]."""
    B, S, C = x.shape
    return x.reshape(B, S, heads, C // heads).transpose(0, 2, 1, 3)


def join_heads(x: jax.Array) -> jax.Array:
    """[B,A,S,E] to [B,S,C]."""
    B, A, S, E = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, S, A * E)


def by_head(bias: jax.Array, heads: int) -> jax.Array:
    """[C] as [1,A,1,E]."""
    return bias.reshape(1, heads, 1, -1)
