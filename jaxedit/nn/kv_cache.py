"""Caches of keys and values: of all layers stacked, and of single layers by memory layout.

Heads come before positions, [B,A,S,E], where a kernel reads whole sequences. Next-scale sampling
keeps all layers in one `KVCache`. Next-token decoding keeps a `KeysValues` for each layer, in the
`CacheLayout` that suits the device. Axis letters: G heads of keys and values, which A heads of
queries may share; P images or rows.
"""

import abc
import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int32

Cache = Float[Array, "..."]  # keys or values of a layer, laid out by a `CacheLayout`
Heads = Float[Array, "P S G E"]
Rows = Float[Array, "P R A E"]  # queries of R rows, or the values that they attended to
Scores = Float[Array, "P R A S"]


class KeysValues(NamedTuple):
    """Keys and values: [B,A,S,E] of a layer, [L,B,A,S,E] of several, or as a `CacheLayout` says.

    Keys are None where only values are computed.
    """

    keys: Float[Array, "..."] | None
    values: Float[Array, "..."]


class KVCache(NamedTuple):
    """Keys and values of all layers, and the number of the layer that runs.

    Inside a scan over layers the cache is only read; what the layers add is written afterwards, all
    layers at once. (XLA:CPU copies a cache that is written inside the loop in every iteration.)
    """

    keys: Float[Array, "L B A S E"]
    values: Float[Array, "L B A S E"]
    layer: Int32[Array, ""]

    @classmethod
    def empty(cls, shape: tuple[int, int, int, int, int], dtype: Any) -> "KVCache":
        """Return a cache of shape (L, B, A, S, E); no position may be read before it is written."""
        # Zeros on a CPU; a TPU or GPU leaves what is in memory.
        keys, values = (jax.lax.empty(shape, dtype) for _ in range(2))
        return cls(keys, values, jnp.zeros((), jnp.int32))

    def write(self, new: KeysValues, start: int) -> "KVCache":
        """Return the cache with `new` of all layers, [L,B,A,N,E], at positions `start` and on."""
        keys, values = (
            jax.lax.dynamic_update_slice(old, added, (0, 0, 0, start, 0))
            for old, added in zip((self.keys, self.values), new, strict=True)
        )
        return self._replace(keys=keys, values=values)

    def followed_by(self, new: KeysValues, start: int) -> KeysValues:
        """Return the first `start` positions of the current layer, then `new`, [B,A,N,E]."""

        def join(cache: jax.Array, added: jax.Array) -> jax.Array:
            _, B, A, _, E = cache.shape
            old = jax.lax.dynamic_slice(cache, (self.layer, 0, 0, 0, 0), (1, B, A, start, E))
            return jnp.concatenate([old[0], added], axis=2)

        return KeysValues(join(self.keys, new.keys), join(self.values, new.values))


@dataclasses.dataclass(frozen=True)
class CacheLayout(abc.ABC):
    """The layout in memory of keys or values of S positions and G heads, and their dtype."""

    head_width: int
    dtype: Any = jnp.float32
    axis: ClassVar[int]  # axis of the positions

    @abc.abstractmethod
    def store(self, x: Heads) -> Cache:
        """Return keys or values as they are cached."""

    @abc.abstractmethod
    def score(self, queries: Rows, keys: Cache) -> Scores:
        """Return the products of queries with cached keys, in f32."""

    @abc.abstractmethod
    def mix(self, weights: Scores, values: Cache) -> Rows:
        """Return weighted sums of cached values, in f32."""

    def length(self, cache: Cache) -> int:
        """Return the number of positions of a cache."""
        return cache.shape[self.axis]

    def grow(self, cache: Cache, length: int) -> Cache:
        """Append zeros to a cache, up to `length` positions."""
        more = (0, length - self.length(cache))
        return jnp.pad(cache, [more if i == self.axis else (0, 0) for i in range(cache.ndim)])

    def write(self, cache: Cache, x: Heads, at: Int[Array, " B"]) -> Cache:
        """Return the cache with `x` at position `at` and on.

        `at` has a single number for all P rows, or a number for each image, of P / B rows.
        """
        new = self.store(x)
        if len(at) == 1:
            return jax.lax.dynamic_update_slice_in_dim(cache, new, at[0], axis=self.axis)
        at = jnp.repeat(at, len(cache) // len(at))
        write = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=self.axis - 1)
        return jax.vmap(write)(cache, new, at)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class ByHead(CacheLayout):
    """[P,G,S,E]: each head reads one block of memory. For CPU and GPU."""

    axis: ClassVar[int] = 2

    def store(self, x: Heads) -> Float[Array, "P G S E"]:
        """See `CacheLayout`."""
        return x.astype(self.dtype).transpose(0, 2, 1, 3)

    def score(self, queries: Rows, keys: Float[Array, "P G S E"]) -> Scores:
        """See `CacheLayout`."""
        rows = self._by_group(queries, keys.shape[1]).astype(keys.dtype)
        scores = jnp.einsum("pgme,pgse->pgms", rows, keys, preferred_element_type=jnp.float32)
        return self._by_row(scores, queries.shape[1])

    def mix(self, weights: Scores, values: Float[Array, "P G S E"]) -> Rows:
        """See `CacheLayout`."""
        rows = self._by_group(weights, values.shape[1]).astype(values.dtype)
        mixed = jnp.einsum("pgms,pgse->pgme", rows, values, preferred_element_type=jnp.float32)
        return self._by_row(mixed, weights.shape[1])

    def _by_group(self, x: jax.Array, groups: int) -> jax.Array:
        """Reshape [P,R,A,n] to [P,G,R*A/G,n]."""
        P, R, A, n = x.shape
        x = x.reshape(P, R, groups, A // groups, n).transpose(0, 2, 1, 3, 4)
        return x.reshape(P, groups, -1, n)

    def _by_row(self, x: jax.Array, rows: int) -> jax.Array:
        """Invert `_by_group`."""
        P, G, M, n = x.shape
        x = x.reshape(P, G, rows, M // rows, n).transpose(0, 2, 1, 3, 4)
        return x.reshape(P, rows, -1, n)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Flat(CacheLayout):
    """[P,S,G*E]: no axis is padded and matrix units do all products. For TPU.

    Each head's query is a row of G*E numbers that are zero outside the head's own channels, and of
    each mixed row only those channels are kept. Channels never leave their places.
    """

    axis: ClassVar[int] = 1

    def store(self, x: Heads) -> Float[Array, "P S G*E"]:
        """See `CacheLayout`."""
        P, S, G, E = x.shape
        return x.astype(self.dtype).reshape(P, S, G * E)

    def score(self, queries: Rows, keys: Float[Array, "P S GE"]) -> Scores:
        """See `CacheLayout`."""
        P, R, A, E = queries.shape
        own = self._own_channels(keys)
        G, C = own.shape
        rows = queries.reshape(P, R, G, A // G, E).swapaxes(2, 3).reshape(P, R, 1, A // G, C)
        # Rows are repeated for each group, and the mask leaves each group its own channels.
        rows = rows.astype(keys.dtype) * own[None, None, :, None].astype(keys.dtype)
        rows = rows.reshape(P, R * A, C)
        scores = jnp.einsum("pmc,psc->pms", rows, keys, preferred_element_type=jnp.float32)
        return scores.reshape(P, R, A, -1)

    def mix(self, weights: Scores, values: Float[Array, "P S GE"]) -> Rows:
        """See `CacheLayout`."""
        P, R, A, S = weights.shape
        own = self._own_channels(values)
        G, C = own.shape
        rows = weights.reshape(P, R * A, S).astype(values.dtype)
        mixed = jnp.einsum("pms,psc->pmc", rows, values, preferred_element_type=jnp.float32)
        mixed = jnp.sum(mixed.reshape(P, R, G, A // G, C) * own[None, None, :, None], axis=2)
        return mixed.reshape(P, R, A // G, G, -1).swapaxes(2, 3).reshape(P, R, A, -1)

    def _own_channels(self, cache: jax.Array) -> jax.Array:
        """Return f32[G,G*E], 1 where a channel belongs to a group, else 0."""
        group = jnp.arange(cache.shape[-1]) // self.head_width
        groups = cache.shape[-1] // self.head_width
        return (group[None] == jnp.arange(groups)[:, None]).astype(jnp.float32)


class SharedSpan(NamedTuple):
    """The prefix that some rows of every image attend to: caches of B images, or one for all."""

    cache: KeysValues
    rows: int
