"""Kernels whose columns are in the order of the devices that compute them.

A kernel may hold several maps side by side, such as those to queries, keys and values. Cut into
equal blocks of columns, it would give a device the columns of a single map. An `Interleaved` kernel
has the columns [q_1 k_1 v_1 | q_2 k_2 v_2 | ...], so that block i holds piece i of every map: the
heads that device i attends with.

Source: Megatron-LM (Shoeybi et al. 2019), section 3: kernels are cut by columns, then by rows.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from jaxedit.ops.int8 import Int8


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Interleaved:
    """A matrix, or a stack of matrices, whose columns `interleave` has ordered.

    Attributes:
      kernel: the matrix: an array, or an `Int8`.
      pieces: number of blocks of columns (static).
    """

    kernel: Float[Array, "*stack in out"] | Int8
    pieces: int = dataclasses.field(metadata={"static": True})

    def without(self, skip: int) -> "Interleaved":
        """Return the matrix without its first maps, which together are `skip` wide."""

        def cut(x: jax.Array) -> jax.Array:
            blocks = x.reshape(*x.shape[:-1], self.pieces, -1)[..., skip // self.pieces :]
            return blocks.reshape(*x.shape[:-1], -1)

        return Interleaved(jax.tree.map(cut, self.kernel), self.pieces)

    def by_map(self, out: jax.Array, parts: int) -> jax.Array:
        """Return a product [..., out] with the matrix, cut by map.

        Args:
          out: the product.
          parts: number of maps, of equal width; the result is [..., parts, F]. 0: cut by block, of
            which each has a piece of every map: [..., pieces, F].
        """
        rows = out.shape[:-1]
        if not parts:
            return out.reshape(*rows, self.pieces, -1)
        blocks = out.reshape(*rows, self.pieces, parts, -1)
        return blocks.swapaxes(-3, -2).reshape(*rows, parts, -1)


def interleave(kernel: Any, widths: Sequence[int], pieces: int) -> Interleaved:
    """Order the columns of a kernel, an array or an `Int8`, by the device that computes them.

    Args:
      kernel: maps side by side.
      widths: columns of each map, multiples of `pieces`.
      pieces: number of devices.
    """
    ends = np.cumsum(widths)[:-1]

    def ordered(x: Shaped[Array, "*stack out"]) -> Shaped[Array, "*stack out"]:
        maps = jnp.split(x, ends, axis=-1)
        blocks = [part.reshape(*x.shape[:-1], pieces, -1) for part in maps]
        return jnp.concatenate(blocks, axis=-1).reshape(x.shape)

    return Interleaved(jax.tree.map(ordered, kernel), pieces)
