"""Weight matrices with a low-rank addition (LoRA), kept apart during training.

`nn.layers.dense` multiplies with the kernel and with the addition separately.

Source: LoRA (Hu et al. 2022), section 4.1.
"""

import dataclasses
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Float, Float32

from jaxedit.ops.int8 import Int8


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LowRank:
    """The matrix `kernel + scale * a @ b`, or a stack of such matrices; a pytree of three arrays.

    Attributes:
      kernel: the frozen matrix: an array, or an `Int8`.
      a: maps inputs to the r channels of the addition.
      b: maps the r channels to outputs.
      scale: factor of the addition (static).
    """

    kernel: Float[ArrayLike, "*stack in out"] | Int8
    a: Float32[ArrayLike, "*stack in r"]
    b: Float32[ArrayLike, "*stack r out"]
    scale: float = dataclasses.field(metadata={"static": True})

    def astype(self, dtype: Any) -> "LowRank":
        """Return the same matrix with its three arrays in another dtype."""
        parts = (x.astype(dtype) for x in (self.kernel, self.a, self.b))
        return LowRank(*parts, self.scale)


def merge(
    kernel: Float[ArrayLike, "*stack in out"],
    a: Float[ArrayLike, "*stack in r"],
    b: Float[ArrayLike, "*stack r out"],
    scale: float,
) -> Float32[ArrayLike, "*stack in out"]:
    """Return `kernel + scale * a @ b` in f32; numpy arrays give a numpy array."""
    return kernel.astype("float32") + scale * (a.astype("float32") @ b.astype("float32"))


def to_dense(kernel: Any) -> Float[ArrayLike, "*shape"]:
    """Return a kernel as an array; a `LowRank` is merged in f32."""
    if not isinstance(kernel, LowRank):
        return jnp.asarray(kernel)
    return merge(kernel.kernel, kernel.a, kernel.b, kernel.scale)
