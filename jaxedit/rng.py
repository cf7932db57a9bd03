"""Random keys: every random draw in jaxedit uses a key from (seed, stream, step) made here."""

import zlib

import jax
from jaxtyping import Array, Integer, Key


def key_for(
    seed: int | Integer[Array, ""], stream: str, step: int | Integer[Array, ""] = 0
) -> Key[Array, ""]:
    """Return a typed threefry key that depends only on the three arguments.

    Equal arguments give the same key eagerly, under jit, inside loops and on any mesh.

    Args:
      seed: the user's seed.
      stream: name of what is drawn ("init", "bits", ...); different streams are independent.
      step: position in the stream.
    """
    stream_id = zlib.crc32(stream.encode()) & 0x7FFFFFFF
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), stream_id)
    return jax.random.fold_in(key, step)
