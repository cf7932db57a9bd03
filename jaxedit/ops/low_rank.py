"""Matrices with a low-rank addition that is not added up: `nn.layers.dense` multiplies with each.

Source: LoRA (Hu et al. 2022), section 4.1.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LowRank:
    """The matrix `kernel + scale * a @ b`, or a stack of such; cut and mapped as a pytree.

    Attributes:
      kernel: [...,in,out].
      a: f32[...,in,r].
      b: f32[...,r,out].
      scale: of the addition (static).
    """

    kernel: Any
    a: jax.Array
    b: jax.Array
    scale: float = dataclasses.field(metadata={"static": True})

    def astype(self, dtype: Any) -> "LowRank":
        """The same with all three matrices in another dtype."""
        parts = (x.astype(dtype) for x in (self.kernel, self.a, self.b))
        return LowRank(*parts, self.scale)


def merge(kernel: Any, a: Any, b: Any, scale: float) -> Any:
    """`kernel + scale * a @ b`, f32[...,in,out], of numpy arrays or of jax arrays."""
    return kernel.astype("float32") + scale * (a.astype("float32") @ b.astype("float32"))


def plain(kernel: Any) -> jax.Array:
    """A kernel as one array; a `LowRank` is merged, in f32."""
    if not isinstance(kernel, LowRank):
        return jnp.asarray(kernel)
    return merge(kernel.kernel, kernel.a, kernel.b, kernel.scale)
