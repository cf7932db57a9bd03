"""Gumbel noise, which turns logits into draws; the same (seed, row, step) gives the same noise.

The likeliest code after adding independent Gumbel noise to the logits is a draw from their softmax.
Two decoding paths that add the same noise differ only where their logits do.

Source: Maddison et al. 2014 (A* Sampling), section 2; ERec, algorithm 2.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Float32, Int32, Integer

from jaxedit import rng


def gumbel(
    seeds: Integer[Array, " B"],
    row: int,
    step: int | Integer[Array, ""] | Integer[Array, " B"],
    codes: int,
) -> Float32[Array, "B {codes}"]:
    """Draw standard Gumbel noise for a step of every image.

    Args:
      seeds: random seed of each image; its noise does not depend on its place in the batch.
      row: number of the decoding path; paths that share noise share the number.
      step: position of the token, of all images or of each.
      codes: V.
    """
    return jax.vmap(
        lambda seed, step: jax.random.gumbel(rng.key_for(seed, f"gumbel/{row}", step), (codes,))
    )(seeds, jnp.broadcast_to(step, seeds.shape))


def choose(
    logits: Float[ArrayLike, "*#n V"], noise: Float[ArrayLike, "*#n V"]
) -> Int32[Array, "*n"]:
    """Return the code whose logit plus noise is largest, of equals the first.

    A code with the logit -inf is never chosen.
    """
    return jnp.argmax(logits + noise, axis=-1).astype(jnp.int32)
