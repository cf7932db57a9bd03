"""Random keys: every draw in jaxedit comes from a key made here, from (seed, stream, step)."""

import zlib

import jax


def key_for(seed: int | jax.Array, stream: str, step: int | jax.Array = 0) -> jax.Array:
    """A typed key that depends on nothing but its three arguments.

    The same values give the same key eagerly, under jit, inside loops and on any mesh.

    Args:
      seed: the user's seed, int or i32[].
      stream: what the draw is for ("init", "bits", ...); different streams are independent.
      step: position in the stream, int or i32[].

    Returns:
      key[], a threefry key.
    """
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), _stream_id(stream))
    return jax.random.fold_in(key, step)


def _stream_id(stream: str) -> int:
    return zlib.crc32(stream.encode()) & 0x7FFFFFFF
