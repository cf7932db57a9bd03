"""The text encoder as a program of its own: an instruction is read once, however often it is used.

Each instruction goes through alone, so that its features depend on nothing else.
"""

import functools

import jax
import jax.numpy as jnp

from jaxedit.config import T5Config
from jaxedit.models.t5 import T5Encoder
from jaxedit.tree import Tree


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def encode_text(
    params: Tree, ids: jax.Array, mask: jax.Array, *, config: T5Config, dtype: str
) -> jax.Array:
    """Features of B texts.

    Args:
      params: of the text encoder.
      ids: i32[B,T].
      mask: bool[B,T], True at tokens.
      config: sizes.
      dtype: of the matrix products.

    Returns:
      f32[B,T,D]; at padding too, which EditAR reads.
    """
    return T5Encoder(config, dtype).apply({"params": params}, ids, mask).astype(jnp.float32)
