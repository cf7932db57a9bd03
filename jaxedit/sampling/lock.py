"""Locks: places where an edit keeps the source's own tokens or bits, whatever a method chooses.

Outside an edit mask nothing may change, and the model sees the locked tokens, so that its drawing
inside the mask fits the picture outside. Every place is either *editable*, where the method's
choice is taken, or locked. If all places are editable, a lock changes nothing, bit for bit.
"""

import dataclasses
import math
from typing import Any, NamedTuple, Protocol, no_type_check, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Int32, Integer

from jaxedit.config import Scales
from jaxedit.ops import pyramid, quantize
from jaxedit.sampling.methods import SamplingMethod

FINE = 0.5  # grids above this share of the finest grid's side may run only some of their tokens
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the tokens of a fine scale


def cells_in(mask: Bool[ArrayLike, "B H W"], grid: tuple[int, int]) -> Bool[Array, "B n"]:
    """Return the cells of a grid that contain a True pixel of the mask, row by row.

    Where neighbouring cells of the grid share pixels, see `pyramid.area_matrix`, a shared pixel
    counts for both.
    """
    share = pyramid.area_resize(mask[..., None].astype(jnp.float32), grid)
    return share.reshape(len(mask), -1) > 0


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LockedTokens:
    """A sampling method that takes the source's token at locked positions, in all rows.

    Later tokens of every row see the source's token. The method's record of a step is not changed.

    Attributes:
      method: chooses the tokens at editable positions.
      source: tokens of the source images.
      editable: True where the method's choice is taken.
    """

    method: SamplingMethod
    source: Int32[Array, "B N"]
    editable: Bool[Array, "B N"]

    def __call__(
        self, logits: Float[Array, "B R V"], position: Integer[Array, " B"]
    ) -> tuple[Int[Array, "B R"], Any]:
        """See `SamplingMethod`."""
        tokens, record = self.method(logits, position)
        source, editable = (
            jnp.take_along_axis(x, position[:, None], axis=1, mode="clip")  # [B,1]
            for x in (self.source, self.editable)
        )
        return jnp.where(editable, tokens, source), record


@runtime_checkable
class Lock(Protocol):
    """The replacement of chosen bits by the source's, before the running feature gets them."""

    def keep(
        self,
        bits: jax.Array,
        feature: jax.Array,
        record: Any,
        scale: int,
        size: tuple[int, int],
        patchify: bool,
    ) -> jax.Array:
        """See `BitLock.keep`."""


class BitLock(NamedTuple):
    """The source's features, whose bits a locked token takes at every scale.

    The bits encode the residual that the *running* feature leaves of the source, not the source's
    own pyramid, which is computed without the edit. Coarse tokens at the mask's border, and the
    only token of the first scale, are editable, and their codes reach beyond the mask; bits
    relative to the running feature undo this at the finer scales. They are also the transformer's
    labels in training, where its input contains errors, and stay right if only the finer scales are
    locked. `benchmarks/masks.py` measures both kinds; docs/masks.md has the numbers.

    Attributes:
      source: features of the source images, before quantisation.
      editable: per scale, True at tokens whose bits the method chooses.
    """

    source: Float[Array, "B H W d"]
    editable: tuple[Bool[Array, "B _"], ...]

    def only(
        self, scale: int, grid: tuple[int, int], count: int
    ) -> tuple["BitLock", Int32[Array, "B {count}"]]:
        """Choose `count` tokens of a scale to run; return a lock of all others, and the tokens.

        The editable tokens come first, then their neighbours, then others from the top left. The
        numbers ascend.
        """
        editable = self.editable[scale]
        near = jax.lax.reduce_window(
            editable.reshape(-1, *grid).astype(jnp.float32),
            -jnp.inf,
            jax.lax.max,
            (1, 3, 3),
            (1, 1, 1),
            "SAME",
        ).reshape(editable.shape)
        order = jnp.argsort(-(editable + near), axis=1, stable=True)
        index = jnp.sort(order[:, :count], axis=1).astype(jnp.int32)
        runs = jnp.zeros_like(editable).at[jnp.arange(len(index))[:, None], index].set(True)
        changed = (*self.editable[:scale], editable & runs, *self.editable[scale + 1 :])
        return self._replace(editable=changed), index

    def keep(
        self,
        bits: Bool[Array, "B P n Q"],
        feature: Float[Array, "B P H W d"],
        record: Any,
        scale: int,
        size: tuple[int, int],
        patchify: bool,
    ) -> Bool[Array, "B P n Q"]:
        """Return chosen bits of a scale, with the source's bits at locked tokens of every path.

        Args:
          bits: what the method chose.
          feature: sum of all coarser scales.
          record: what the method recorded; not used.
          scale: its number.
          size: (h, w) of the scale, in latent positions.
          patchify: whether 2x2 positions are one token.
        """
        own = source_bits(self.source, feature, size, patchify)
        return jnp.where(self.editable[scale][:, None, :, None], bits, own)


def source_bits(
    source: Float[Array, "B H W d"],
    feature: Float[Array, "B P H W d"],
    size: tuple[int, int],
    patchify: bool,
) -> Bool[Array, "B P n Q"]:
    """Return, on each path, the bits of what its running feature leaves of the source.

    Args: as of `BitLock.keep`.
    """
    bits = jax.vmap(
        lambda path: quantize.residual_bits(source, path, size, patchify), in_axes=1, out_axes=1
    )
    return bits(feature)


def runs_of(mask: Bool[np.ndarray, "B H W"], scales: Scales) -> tuple[int, ...]:
    """Return how many tokens of each scale must be run for edits inside `mask`, or () for all.

    The fine scales, which cost nearly everything, run a quarter, a half, three quarters or all of
    their tokens: the least that every image's editable tokens fit into. Every answer is a program
    to compile.
    """
    fine = [k for k, size in enumerate(scales) if max(size) > FINE * max(scales[-1])]
    shares = [_cells(mask, scales[k]).mean(axis=1).max() for k in fine]
    needed = next(share for share in SHARES if max(shares) <= share)
    if needed == 1:
        return ()
    counts = [h * w for h, w in scales]
    return tuple(math.ceil(needed * n) if k in fine else n for k, n in enumerate(counts))


def _cells(mask: Bool[np.ndarray, "B H W"], grid: tuple[int, int]) -> Bool[np.ndarray, "B n"]:
    """Compute `cells_in` on the host."""
    H, W = mask.shape[1:]
    rows, columns = pyramid.area_matrix(H, grid[0]), pyramid.area_matrix(W, grid[1])
    touched = (rows > 0).astype(np.float32) @ mask.astype(np.float32) @ (columns > 0).T
    return touched.reshape(len(mask), -1) > 0
