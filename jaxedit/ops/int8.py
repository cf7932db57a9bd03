"""Weight matrices as 8-bit integers with one scale per output channel.

Only memory is saved: products are computed in the usual dtype and without further rounding.

Source: the symmetric weight-only scheme of LLM.int8() (Dettmers et al. 2022), section 2, with one
scale per column of the weights.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Float32, Shaped
from jaxtyping import Int8 as i8

# Paths of the kernels to quantise: the kernels of the blocks, which hold 94 to 98 % of the
# parameters of the released networks. Embeddings, heads and adaptive norms keep their dtype.
KERNELS = re.compile(r"(?:first_block|blocks)/(?:.*/)?kernel")
LARGEST = 127  # -128 is not used: the range is symmetric
# Number of integers that a CPU converts at once. A product of 2 rows with a f32 kernel [1280,3456]
# then takes 0.8 ms, as with an unquantised kernel; converting whole kernels first takes 9 ms.
PIECE = 2**19


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Int8:
    """A matrix, or a stack of matrices, equal to `values * scale`; a pytree of its two arrays.

    Attributes:
      values: integers in [-127, 127].
      scale: size of an integer step, per output channel.
      dtype: dtype of the matrix that the integers stand for, used in products (static).
    """

    values: i8[Array, "*stack in out"]
    scale: Float32[Array, "*stack 1 out"]
    dtype: Any = dataclasses.field(metadata={"static": True})


@jax.jit
def quantize(kernel: Shaped[ArrayLike, "..."]) -> Int8:
    """Round a matrix [...,in,out] to 8-bit integers, half to even.

    The largest entry of each column becomes 127 or -127; a column of zeros has scale 0.

    Raises:
      ValueError: the kernel has fewer than two axes, or no floating-point dtype.
    """
    if kernel.ndim < 2 or not jnp.issubdtype(kernel.dtype, jnp.floating):
        raise ValueError(
            f"kernel of shape {kernel.shape}, {kernel.dtype}: expected floats [...,in,out]"
        )
    wide = kernel.astype(jnp.float32)
    scale = jnp.max(jnp.abs(wide), axis=-2, keepdims=True) / LARGEST
    values = jnp.round(wide / jnp.where(scale > 0, scale, 1)).astype(jnp.int8)
    return Int8(values, scale, kernel.dtype)


def quantize_if_kernel(path: str, leaf: jax.Array) -> jax.Array | Int8:
    """Quantise the parameter at `path` if it is a kernel of a block; return others unchanged."""
    return jax.block_until_ready(quantize(leaf)) if KERNELS.search(path) else leaf


def dequantize(kernel: Int8) -> Float[Array, "*stack in out"]:
    """Return the matrix in the dtype it had before `quantize`."""
    return (kernel.values.astype(jnp.float32) * kernel.scale).astype(kernel.dtype)


def product(
    x: Float[ArrayLike, "*n in"],
    kernel: Float[ArrayLike, "in out"] | Int8,
    *,
    precision: Any = None,
) -> Float32[Array, "*n out"]:
    """Multiply `x` with a kernel in the kernel's dtype, accumulating in f32.

    Integers up to 127 are exact in every floating-point dtype, and the scale is applied to the
    product in f32. A TPU converts the integers inside the product, so that the kernel is never in
    memory in another dtype.
    """
    x = x.astype(kernel.dtype)
    multiply = functools.partial(
        jnp.matmul, precision=precision, preferred_element_type=jnp.float32
    )
    if not isinstance(kernel, Int8):
        return multiply(x, kernel)

    def at_once(rows: jax.Array, values: jax.Array) -> jax.Array:
        return multiply(rows, values.astype(rows.dtype))

    def by_columns(rows: jax.Array, values: jax.Array) -> jax.Array:
        # f32 holds both factors exactly; XLA:CPU of jax 0.7 has no bfloat16 product in a loop.
        return _by_columns(at_once, rows.astype(jnp.float32), values)

    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # [N,in]
    out = jax.lax.platform_dependent(rows, kernel.values, cpu=by_columns, default=at_once)
    out = out * kernel.scale
    return out.reshape(*x.shape[:-1], out.shape[-1])


def _by_columns(
    multiply: Callable[[jax.Array, jax.Array], jax.Array], rows: jax.Array, values: jax.Array
) -> jax.Array:
    """Compute `multiply(rows, values)` in a loop over pieces of about `PIECE` values.

    XLA:CPU converts integers before it multiplies, and outside a loop as early as it can: the
    kernels of all layers would be converted before the first product.
    """
    width = values.shape[1]
    # The largest power of two that divides the width, at most the number of pieces wanted.
    pieces = math.gcd(width, 2 ** (values.size // PIECE + 1).bit_length())

    def part(i: jax.Array) -> jax.Array:
        start, size = i * (width // pieces), width // pieces
        return multiply(rows, jax.lax.dynamic_slice_in_dim(values, start, size, axis=1))

    out = jax.lax.map(part, jnp.arange(pieces))  # [pieces,N,size]
    return out.transpose(1, 0, 2).reshape(len(rows), width)
