"""Scale-aligned reference (SAR): each target scale sees the source at its own resolution.

In the first layer a target scale attends to the source's keys and values averaged to its own grid,
instead of to the source itself. Keys are averaged after normalisation and rotation and are not
normalised again.

Source: VAREdit, section 3.3, equations 6 and 7, in the form of its released code.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxedit.config import Scales
from jaxedit.nn.attention import dot_product_attention, extend_attention, joined
from jaxedit.nn.kernels import Queries
from jaxedit.nn.kv_cache import KeysValues, KVCache
from jaxedit.ops import pyramid


def pool(
    x: Float[Array, "B A S E"], full: tuple[int, int], scale: tuple[int, int]
) -> Float[Array, "B A s E"]:
    """Average the source's keys or values, in exact float32, to a coarser grid.

    Args:
      x: keys or values of S = H*W positions, row by row.
      full: (H, W).
      scale: (h, w), of s = h*w positions.
    """
    if scale == full:
        return x
    B, A, _, E = x.shape
    rows, columns = pyramid.area_matrix(full[0], scale[0]), pyramid.area_matrix(full[1], scale[1])
    x = x.reshape(B, A, *full, E)
    x32, highest = x.astype(jnp.float32), jax.lax.Precision.HIGHEST
    pooled = jnp.einsum("ih,jw,bahwe->baije", rows, columns, x32, precision=highest)
    return pooled.reshape(B, A, -1, E).astype(x.dtype)


def references(source: KeysValues, scales: Scales) -> tuple[KeysValues, ...]:
    """Return the source's keys and values at every scale; the last scale is their own grid."""
    return tuple(KeysValues(*(pool(x, scales[-1], s) for x in source)) for s in scales)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SARTraining:
    """Training pattern of the first layer over [source | scale 1 | ... | scale K]."""

    scales: Scales

    def __call__(self, queries: Queries, new: KeysValues, past: None) -> tuple[Queries, None]:
        """Let the source see itself, and scale k its reference and target scales 1 to k."""
        h, w = self.scales[-1]
        source = KeysValues(*(x[:, :, : h * w] for x in new))
        attended = [dot_product_attention(queries[:, :, : h * w], *source)]
        start = h * w
        for (rows, columns), reference in zip(
            self.scales, references(source, self.scales), strict=True
        ):
            stop = start + rows * columns
            target = KeysValues(*(x[:, :, h * w : stop] for x in new))
            seen = joined(reference, target)
            attended.append(dot_product_attention(queries[:, :, start:stop], *seen))
            start = stop
        return jnp.concatenate(attended, axis=2), None


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SARPrefill:
    """Sampling pattern of the first layer over the source, whose references are kept."""

    scales: Scales

    def __call__(
        self, queries: Queries, new: KeysValues, past: None
    ) -> tuple[Queries, tuple[KeysValues, ...]]:
        """Let the source see itself."""
        return dot_product_attention(queries, *new), references(new, self.scales)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SARDecode:
    """Sampling pattern of the first layer over the next target scale."""

    start: int  # target tokens in the cache

    def __call__(
        self, queries: Queries, new: KeysValues, past: tuple[KVCache, KeysValues]
    ) -> tuple[Queries, KeysValues]:
        """Let the scale see its reference, earlier target scales and itself."""
        cache, reference = past
        return extend_attention(queries, new, cache, self.start, reference), new
