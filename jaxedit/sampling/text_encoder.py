"""The text encoder as a program of its own, so that an instruction is read once.

Each instruction is encoded alone, so that its features depend on nothing else.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float32, Int

from jaxedit.config import T5Config
from jaxedit.models.t5 import T5Encoder
from jaxedit.tree import Tree


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def encode_text(
    params: Tree,
    ids: Int[ArrayLike, "B T"],
    mask: Bool[ArrayLike, "B T"],
    *,
    config: T5Config,
    dtype: str,
) -> Float32[Array, "B T D"]:
    """Return features of texts, also at padding, which EditAR reads; `mask` is True at tokens."""
    return T5Encoder(config, dtype).apply({"params": params}, ids, mask).astype(jnp.float32)
