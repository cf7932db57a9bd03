"""Locks: places where an edit keeps the source's own tokens or bits, whatever a method chooses.

Outside an edit mask nothing may change, and the model sees the locked tokens, so that its drawing
inside the mask fits the picture outside. Every place is either *editable*, where the method's
choice is taken, or locked. If all places are editable, a lock changes nothing, bit for bit.
"""

import dataclasses
from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Int32, Integer

from jaxedit.ops import pyramid, quantize
from jaxedit.sampling.methods import SamplingMethod


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
        self, logits: Float[Array, "B R V"], position: Integer[Array, ""]
    ) -> tuple[Int[Array, "B R"], Any]:
        """See `SamplingMethod`."""
        tokens, record = self.method(logits, position)
        source, editable = (
            jax.lax.dynamic_slice_in_dim(x, position, 1, axis=1)  # [B,1]
            for x in (self.source, self.editable)
        )
        return jnp.where(editable, tokens, source), record


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

    def keep(
        self,
        bits: Bool[Array, "B n Q"],
        feature: Float[Array, "B H W d"],
        scale: int,
        size: tuple[int, int],
        patchify: bool,
    ) -> Bool[Array, "B n Q"]:
        """Return chosen bits of a scale, with the source's bits at locked tokens.

        Args:
          bits: what the method chose.
          feature: sum of all coarser scales.
          scale: its number.
          size: (h, w) of the scale, in latent positions.
          patchify: whether 2x2 positions are one token.
        """
        own = quantize.residual_bits(self.source, feature, size, patchify)
        return jnp.where(self.editable[scale][..., None], bits, own)
