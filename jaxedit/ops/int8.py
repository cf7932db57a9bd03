"""Matrices of 8-bit integers with one scale per output channel; products stay in the usual dtype.

Source: the symmetric weight-only scheme of LLM.int8() (Dettmers et al. 2022), section 2, per column
of the weights and with exact products.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Paths of the kernels that become integers: those of the blocks, 94 to 98 % of the numbers in the
# released networks. Embeddings, heads and the maps of adaptive norms stay.
KERNELS = re.compile(r"(?:first_block|blocks)/(?:.*/)?kernel")
LARGEST = 127  # -128 is not used: the range is symmetric
# Values that are converted together on CPU. With 2 rows, f32, 1280 to 3456: 0.8 ms a product, as
# from a kernel of f32; 9 ms when all kernels are converted first.
PIECE = 2**19


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Int8:
    """A matrix, or a stack of matrices, that is `values * scale`; cut and mapped as a pytree.

    Attributes:
      values: i8[...,in,out], in [-127,127].
      scale: f32[...,1,out], a step of the values of a column.
      dtype: which the matrix stands for, and in which it is multiplied (static).
    """

    values: jax.Array
    scale: jax.Array
    dtype: Any = dataclasses.field(metadata={"static": True})


@jax.jit
def quantize(kernel: jax.Array) -> Int8:
    """The nearest matrix of integers; the largest entry of each column is exact to rounding.

    Args:
      kernel: floating point [...,in,out].

    Returns:
      As many values, rounded half to even; a column of zeros has scale 0.

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


def compress(path: str, leaf: jax.Array) -> jax.Array | Int8:
    """`quantize` the parameter at `path` if it is a kernel of a block; others stay."""
    return jax.block_until_ready(quantize(leaf)) if KERNELS.search(path) else leaf


def dequantize(kernel: Int8) -> jax.Array:
    """The matrix [...,in,out] in its dtype."""
    return (kernel.values.astype(jnp.float32) * kernel.scale).astype(kernel.dtype)


def product(x: jax.Array, kernel: jax.Array | Int8, *, precision: Any = None) -> jax.Array:
    """x[...,in] times kernel [in,out], in the kernel's dtype, as f32[...,out].

    Integers up to 127 are exact in every dtype, and the scale is put on the product, in f32. A TPU
    converts them inside the product: nothing but integers is ever in memory.
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
        # f32 holds both factors exactly, and XLA:CPU of jax 0.7 has no bfloat16 product in a loop
        return _by_columns(at_once, rows.astype(jnp.float32), values)

    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # [N,in]
    out = jax.lax.platform_dependent(rows, kernel.values, cpu=by_columns, default=at_once)
    out = out * kernel.scale
    return out.reshape(*x.shape[:-1], out.shape[-1])


def _by_columns(
    multiply: Callable[[jax.Array, jax.Array], jax.Array], rows: jax.Array, values: jax.Array
) -> jax.Array:
    """`multiply(rows, values)` in a loop over two or more pieces of about `PIECE` values.

    XLA:CPU converts before it multiplies, and outside a loop as early as it can: all layers first.
    """
    width = values.shape[1]
    pieces = math.gcd(width, 2 ** (values.size // PIECE + 1).bit_length())

    def part(i: jax.Array) -> jax.Array:
        start, size = i * (width // pieces), width // pieces
        return multiply(rows, jax.lax.dynamic_slice_in_dim(values, start, size, axis=1))

    out = jax.lax.map(part, jnp.arange(pieces))  # [pieces,N,size]
    return out.transpose(1, 0, 2).reshape(len(rows), width)
