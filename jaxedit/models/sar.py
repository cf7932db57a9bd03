"""Scale-aligned reference (SAR): each target scale sees the source at its own resolution.

In the first layer a target scale attends to the source's keys and values averaged to its own grid,
instead of to the source itself. Keys are averaged after normalisation and rotation and are not
normalised again.

Source: VAREdit, section 3.3, equations 6 and 7, in the form of its released code.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import Scales
from jaxedit.nn.attention import KVCache, attend
from jaxedit.ops import pyramid


class Reference(NamedTuple):
    """The source's keys and values at one scale, [B,A,n,E] each."""

    keys: jax.Array
    values: jax.Array


def pool(x: jax.Array, full: tuple[int, int], scale: tuple[int, int]) -> jax.Array:
    """Average the source's keys or values to a coarser grid.

    Args:
      x: [B,A,H*W,E] in raster order.
      full: (H, W).
      scale: (h, w).

    Returns:
      [B,A,h*w,E] in the dtype of `x`.
    """
    if scale == full:
        return x
    B, A, _, E = x.shape
    rows, columns = pyramid.area_matrix(full[0], scale[0]), pyramid.area_matrix(full[1], scale[1])
    x = x.reshape(B, A, *full, E)
    pooled = jnp.einsum("ih,jw,bahwe->baije", rows, columns, x.astype(jnp.float32))
    return pooled.reshape(B, A, -1, E).astype(x.dtype)


def references(keys: jax.Array, values: jax.Array, scales: Scales) -> tuple[Reference, ...]:
    """The source's keys and values [B,A,Ls,E] at every scale; the last scale is their own grid."""
    full = scales[-1]
    return tuple(Reference(pool(keys, full, s), pool(values, full, s)) for s in scales)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class ScaleAligned:
    """Training view of the first layer over [source | scale 1 | ... | scale K]."""

    scales: Scales

    def __call__(
        self, queries: jax.Array, keys: jax.Array, values: jax.Array, memory: None
    ) -> tuple[jax.Array, None]:
        """The source sees itself; scale k sees its reference and target scales 1 to k."""
        h, w = self.scales[-1]
        source, target = slice(0, h * w), slice(h * w, None)
        source_k, source_v = keys[:, :, source], values[:, :, source]
        attended = [attend(queries[:, :, source], source_k, source_v)]
        q, k, v = queries[:, :, target], keys[:, :, target], values[:, :, target]
        start = 0
        for (rows, columns), reference in zip(
            self.scales, references(source_k, source_v, self.scales), strict=True
        ):
            stop = start + rows * columns
            attended.append(
                _attend_with(reference, q[:, :, start:stop], k[:, :, :stop], v[:, :, :stop])
            )
            start = stop
        return jnp.concatenate(attended, axis=2), memory


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class BeginAligned:
    """Sampling view of the first layer over the source; remembers its references."""

    scales: Scales

    def __call__(
        self, queries: jax.Array, keys: jax.Array, values: jax.Array, memory: None
    ) -> tuple[jax.Array, tuple[Reference, ...]]:
        """The source sees itself."""
        return attend(queries, keys, values), references(keys, values, self.scales)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class ExtendAligned:
    """Sampling view of the first layer: one more target scale, beside its reference."""

    start: int  # target tokens already in the cache

    def __call__(
        self,
        queries: jax.Array,
        keys: jax.Array,
        values: jax.Array,
        memory: tuple[KVCache, Reference],
    ) -> tuple[jax.Array, KVCache]:
        """The scale sees its reference and the target scales up to itself."""
        cache, reference = memory
        layer, cache = cache.layer, cache.write(keys, values, self.start)
        keys, values = cache.read(layer, self.start + queries.shape[2])
        return _attend_with(reference, queries, keys, values), cache


def _attend_with(
    reference: Reference, queries: jax.Array, keys: jax.Array, values: jax.Array
) -> jax.Array:
    keys = jnp.concatenate([reference.keys, keys], axis=2)
    values = jnp.concatenate([reference.values, values], axis=2)
    return attend(queries, keys, values)
