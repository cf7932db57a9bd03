"""Caches of keys and values: of all layers stacked, and of single layers by memory layout.

Heads come before positions, [B,A,S,E], where a kernel reads whole sequences. Next-scale sampling
keeps all layers in one `KVCache`. Next-token decoding keeps one `KeysValues` per layer, in the
`CacheLayout` that suits the device.
"""

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp


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


class CacheLayout(Protocol):
    """How keys or values of S positions and G heads lie in memory, and in which dtype."""

    dtype: Any

    def store(self, x: jax.Array) -> jax.Array:
        """[P,S,G,E] as it is cached."""

    def length(self, cache: jax.Array) -> int:
        """S of a cache."""

    def grow(self, cache: jax.Array, length: int) -> jax.Array:
        """The cache with zeros after it, up to `length` positions."""

    def write(self, cache: jax.Array, x: jax.Array, position: jax.Array) -> jax.Array:
        """The cache with x [P,1,G,E] at `position` i32[]."""

    def score(self, queries: jax.Array, keys: jax.Array) -> jax.Array:
        """Products of queries [P,R,A,E] with cached keys: f32[P,R,A,S]."""

    def mix(self, weights: jax.Array, values: jax.Array) -> jax.Array:
        """Sums of cached values weighted by f32[P,R,A,S]: f32[P,R,A,E]."""


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class ByHead:
    """[P,G,S,E]: each head reads one block of memory. For CPU and GPU."""

    head_width: int
    dtype: Any = jnp.float32

    def store(self, x: jax.Array) -> jax.Array:
        """See `CacheLayout`."""
        return x.astype(self.dtype).transpose(0, 2, 1, 3)

    def length(self, cache: jax.Array) -> int:
        """See `CacheLayout`."""
        return cache.shape[2]

    def grow(self, cache: jax.Array, length: int) -> jax.Array:
        """See `CacheLayout`."""
        return jnp.pad(cache, ((0, 0), (0, 0), (0, length - cache.shape[2]), (0, 0)))

    def write(self, cache: jax.Array, x: jax.Array, position: jax.Array) -> jax.Array:
        """See `CacheLayout`."""
        return jax.lax.dynamic_update_slice_in_dim(cache, self.store(x), position, axis=2)

    def score(self, queries: jax.Array, keys: jax.Array) -> jax.Array:
        """See `CacheLayout`."""
        rows = self._by_group(queries, keys.shape[1]).astype(keys.dtype)
        scores = jnp.einsum("pgme,pgse->pgms", rows, keys, preferred_element_type=jnp.float32)
        return self._by_row(scores, queries.shape[1])

    def mix(self, weights: jax.Array, values: jax.Array) -> jax.Array:
        """See `CacheLayout`."""
        rows = self._by_group(weights, values.shape[1]).astype(values.dtype)
        mixed = jnp.einsum("pgms,pgse->pgme", rows, values, preferred_element_type=jnp.float32)
        return self._by_row(mixed, weights.shape[1])

    def _by_group(self, x: jax.Array, groups: int) -> jax.Array:
        """[P,R,A,n] as [P,G,R*A/G,n]."""
        P, R, A, n = x.shape
        x = x.reshape(P, R, groups, A // groups, n).transpose(0, 2, 1, 3, 4)
        return x.reshape(P, groups, -1, n)

    def _by_row(self, x: jax.Array, rows: int) -> jax.Array:
        """The inverse of `_by_group`."""
        P, G, M, n = x.shape
        x = x.reshape(P, G, rows, M // rows, n).transpose(0, 2, 1, 3, 4)
        return x.reshape(P, rows, -1, n)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Flat:
    """[P,S,G*E]: no axis is padded and matrix units do all products. For TPU.

    Each head's query is a row of G*E numbers that are zero outside its own channels, and of each
    mixed row only those channels are kept. Channels never leave their places.
    """

    head_width: int
    dtype: Any = jnp.float32

    def store(self, x: jax.Array) -> jax.Array:
        """See `CacheLayout`."""
        P, S, G, E = x.shape
        return x.astype(self.dtype).reshape(P, S, G * E)

    def length(self, cache: jax.Array) -> int:
        """See `CacheLayout`."""
        return cache.shape[1]

    def grow(self, cache: jax.Array, length: int) -> jax.Array:
        """See `CacheLayout`."""
        return jnp.pad(cache, ((0, 0), (0, length - cache.shape[1]), (0, 0)))

    def write(self, cache: jax.Array, x: jax.Array, position: jax.Array) -> jax.Array:
        """See `CacheLayout`."""
        return jax.lax.dynamic_update_slice_in_dim(cache, self.store(x), position, axis=1)

    def score(self, queries: jax.Array, keys: jax.Array) -> jax.Array:
        """See `CacheLayout`."""
        P, R, A, E = queries.shape
        own = self._own_channels(keys)
        G, C = own.shape
        rows = queries.reshape(P, R, G, A // G, E).swapaxes(2, 3).reshape(P, R, 1, A // G, C)
        rows = rows.astype(keys.dtype) * own[None, None, :, None].astype(keys.dtype)
        rows = rows.reshape(P, R * A, C)
        scores = jnp.einsum("pmc,psc->pms", rows, keys, preferred_element_type=jnp.float32)
        return scores.reshape(P, R, A, -1)

    def mix(self, weights: jax.Array, values: jax.Array) -> jax.Array:
        """See `CacheLayout`."""
        P, R, A, S = weights.shape
        own = self._own_channels(values)
        G, C = own.shape
        rows = weights.reshape(P, R * A, S).astype(values.dtype)
        mixed = jnp.einsum("pms,psc->pmc", rows, values, preferred_element_type=jnp.float32)
        mixed = jnp.sum(mixed.reshape(P, R, G, A // G, C) * own[None, None, :, None], axis=2)
        return mixed.reshape(P, R, A // G, G, -1).swapaxes(2, 3).reshape(P, R, A, -1)

    def _own_channels(self, cache: jax.Array) -> jax.Array:
        """Which channels belong to which group: f32[G,G*E]."""
        group = jnp.arange(cache.shape[-1]) // self.head_width
        groups = cache.shape[-1] // self.head_width
        return (group[None] == jnp.arange(groups)[:, None]).astype(jnp.float32)


class SharedSpan(NamedTuple):
    """What some rows of every picture see in one layer: [B,...], or [1,...] the same for all."""

    cache: KeysValues
    rows: int
