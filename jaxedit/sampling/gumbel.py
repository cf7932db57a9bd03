"""Drawing by Gumbel noise: the same (seed, row, step) always gives the same noise.

The likeliest code after adding independent Gumbel noise to the logits is a draw from their softmax.
Two decoding paths that add the same noise differ only where their logits do.

Source: Maddison et al. 2014 (A* Sampling), section 2; ERec, algorithm 2.
"""

import jax
import jax.numpy as jnp

from jaxedit import rng


def gumbel(
    seeds: jax.Array, row: int, step: jax.Array, codes: int, stream: str = "gumbel"
) -> jax.Array:
    """Standard Gumbel noise for one step of every picture.

    Args:
      seeds: i32[B], one per picture.
      row: which decoding path of the picture; paths that share noise share the number.
      step: i32[], position of the token.
      codes: V.
      stream: name of the stream of keys.

    Returns:
      f32[B,V]; row i depends on seeds[i], not on its place in the batch.
    """
    return jax.vmap(
        lambda seed: jax.random.gumbel(rng.key_for(seed, f"{stream}/{row}", step), (codes,))
    )(seeds)


def choose(logits: jax.Array, noise: jax.Array) -> jax.Array:
    """The code whose noised logit is largest, the first one of equals.

    Args:
      logits: f32[...,V], -inf for codes that must not be chosen.
      noise: f32[...,V].

    Returns:
      i32[...].
    """
    return jnp.argmax(logits + noise, axis=-1).astype(jnp.int32)
