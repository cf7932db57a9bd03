"""Products of rows with a kernel of any kind: an array, `Int8`, `LowRank` or `Interleaved`."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxedit.nn.kernels import is_on_tpu
from jaxedit.ops.int8 import Int8, product
from jaxedit.ops.interleaved import Interleaved
from jaxedit.ops.low_rank import LowRank
from jaxedit.sharding.rules import gather

# A TPU writes the product with a kernel of several maps by map and head, for which it copies the
# kernel. Up to this number of rows it is faster to move the product afterwards; where devices share
# the kernel, always.
FLAT_ROWS = 640


class Maps(NamedTuple):
    """The maps that a kernel holds side by side; arguments of `packed_dense`."""

    widths: tuple[int, ...]
    first: int
    head_width: int

    @property
    def skipped(self) -> int:
        """Return the number of columns before the first map that is computed."""
        return sum(self.widths[: self.first])

    @property
    def columns(self) -> list[tuple[int, int]]:
        """Return the first and the last column, exclusive, of each map that is computed."""
        ends = np.cumsum(self.widths).tolist()
        return list(zip([0, *ends], ends, strict=False))[self.first :]

    def split(self, x: Float[ArrayLike, "*n"]) -> Float[Array, "*m"]:
        """Divide the last axis, a map's width, into heads."""
        E = self.head_width
        return x.reshape(*x.shape[:-1], x.shape[-1] // E, E) if E else x


def multiply(
    x: jax.Array,
    kernel: Any,
    *args: Any,
    parts: int,
    maps: Maps | None,
    head_width: int,
    wide: bool,
    **kwargs: Any,
) -> jax.Array | tuple[jax.Array, ...]:
    """Multiply rows [..., D] with a kernel of any kind; flax passes its precision by name."""
    if maps is not None:
        return _dot_maps(x, kernel, maps, wide=wide, **kwargs)
    if head_width and isinstance(kernel, jax.Array) and not wide:
        x = x.reshape(*x.shape[:-1], -1, head_width)
        kernel = kernel.reshape(-1, head_width, kernel.shape[-1])
        return jax.lax.dot_general(
            x, kernel, (((x.ndim - 2, x.ndim - 1), (0, 1)), ((), ())), **kwargs
        )
    rows = functools.partial(_dot_rows, wide=wide, **kwargs)
    if isinstance(kernel, Interleaved):
        out = rows(x, kernel.kernel)
        return kernel.by_map(_keep_flat(out) if parts else out, parts)
    dot = functools.partial(_dot_parts, parts=parts, **kwargs) if parts else rows
    if not isinstance(kernel, LowRank):
        return dot(x, kernel)
    out = dot(x, kernel.kernel)
    low = _dot_rows(x, kernel.a, **kwargs)
    b = kernel.b.reshape(len(kernel.b), *out.shape[x.ndim - 1 :])  # not the output: it may be cut
    return out + kernel.scale * _dot_last(low, b, **kwargs)


def _dot_maps(
    x: jax.Array, kernel: Any, maps: Maps, *, wide: bool, **kwargs: Any
) -> tuple[jax.Array, ...]:
    """Multiply with each map of a kernel of any kind, as `packed_dense` describes."""
    rows = functools.partial(_dot_rows, wide=wide, **kwargs)
    widths = maps.widths[maps.first :]
    if isinstance(kernel, Interleaved):
        kernel = kernel.without(maps.skipped) if maps.skipped else kernel
        widths = [n // kernel.pieces for n in widths]  # on each device
        out = kernel.by_map(rows(x, kernel.kernel), 0)  # [...,pieces,F]
        found = jnp.split(out, np.cumsum(widths)[:-1], axis=-1)
        return tuple(maps.split(y.reshape(*x.shape[:-1], -1)) for y in found)
    if wide or isinstance(kernel, Int8):
        out = rows(x, jax.tree.map(lambda k: k[:, maps.skipped :], kernel))
        return tuple(map(maps.split, jnp.split(out, np.cumsum(widths)[:-1], axis=-1)))
    if not isinstance(kernel, LowRank):
        return _dot_columns(x, kernel, maps, "embed", **kwargs)
    found = _dot_columns(x, kernel.kernel, maps, "embed", **kwargs)
    added = _dot_columns(_dot_rows(x, kernel.a, **kwargs), kernel.b, maps, None, **kwargs)
    return tuple(y + kernel.scale * more for y, more in zip(found, added, strict=True))


def _dot_columns(
    x: jax.Array, kernel: Any, maps: Maps, axis: str | None, **kwargs: Any
) -> tuple[jax.Array, ...]:
    """Multiply with the columns of each map of a kernel, whose rows have the name `axis`."""
    cut = (maps.split(gather(kernel[:, i:j], (axis, "heads"))) for i, j in maps.columns)
    return tuple(_dot_last(x, columns, **kwargs) for columns in cut)


def _dot_last(x: jax.Array, kernel: Any, **kwargs: Any) -> jax.Array:
    """Multiply [..., D] with [D, ...]."""
    return jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())), **kwargs)


def _dot_rows(x: jax.Array, kernel: Any, *, wide: bool = False, **kwargs: Any) -> jax.Array:
    """Multiply [..., D] as a single matrix: on CPU the backward pass is then twice as fast."""
    if isinstance(kernel, Int8):
        return product(x, kernel, **kwargs).astype(jnp.float32 if wide else x.dtype)
    kwargs["preferred_element_type"] = jnp.float32 if wide else None
    out = jax.lax.dot_general(_rows(x), kernel, (((1,), (0,)), ((), ())), **kwargs)
    return out.reshape(*x.shape[:-1], kernel.shape[-1])


def _dot_parts(x: jax.Array, kernel: Any, *, parts: int, **kwargs: Any) -> jax.Array:
    """Multiply as `_dot_rows`, and return [..., parts, F]."""
    if isinstance(kernel, Int8):
        out = product(x, kernel, **kwargs).astype(x.dtype)
        return out.reshape(*x.shape[:-1], parts, out.shape[-1] // parts)
    if is_on_tpu() and math.prod(x.shape[:-1]) <= FLAT_ROWS:
        out = _keep_flat(_dot_rows(x, kernel, **kwargs))
        return out.reshape(*x.shape[:-1], parts, -1)
    kernel = kernel.reshape(len(kernel), parts, kernel.shape[-1] // parts)
    kernel = gather(kernel, ("embed", None, "heads"))  # now its columns are cut, not its rows
    out = jax.lax.dot_general(_rows(x), kernel, (((1,), (0,)), ((), ())), **kwargs)
    return out.reshape(*x.shape[:-1], *kernel.shape[1:])


def _keep_flat(product: jax.Array) -> jax.Array:
    """Forbid a TPU's compiler to write a product in another order."""
    return jax.lax.optimization_barrier(product) if is_on_tpu() else product


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
