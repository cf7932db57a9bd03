"""Thresholds that keep the likeliest candidates: top-k and nucleus.

They are found by bisection on the bits of a float, which is exact and sorts nothing.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

_SIGN = 1 << 31


def among_largest(x: Float[ArrayLike, "*n V"], k: Int[ArrayLike, ""]) -> Bool[Array, "*n V"]:
    """Return which values are at least as large as the k-th largest of their row."""
    bits = _ordered(x)

    def enough(t: jax.Array) -> jax.Array:
        return jnp.sum(bits >= t, axis=-1, keepdims=True, dtype=jnp.int32) >= k

    return bits >= _largest(enough, x.shape[:-1])


def in_nucleus(
    logits: Float[ArrayLike, "*n V"], top_p: Float[ArrayLike, ""]
) -> Bool[Array, "*n V"]:
    """Return which codes are in the nucleus: all larger codes have a probability <= `top_p`."""
    probabilities = jax.nn.softmax(logits, axis=-1)
    bits = _ordered(logits)

    def exceeds(t: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(bits >= t, probabilities, 0), axis=-1, keepdims=True) > top_p

    # The largest t from which on the codes exceed top_p is the last code of the nucleus.
    return bits >= _largest(exceeds, logits.shape[:-1])


def _largest(holds: Callable[[jax.Array], jax.Array], shape: tuple[int, ...]) -> jax.Array:
    """Return the largest u32[*shape,1] for which `holds` is True; 0 if there is none.

    As its argument grows, `holds` changes from True to False once. The loop sets one bit a turn.
    """

    def step(i: jax.Array, bound: jax.Array) -> jax.Array:
        candidate = bound | (jnp.uint32(_SIGN) >> i.astype(jnp.uint32))
        return jnp.where(holds(candidate), candidate, bound)

    return jax.lax.fori_loop(0, 32, step, jnp.zeros((*shape, 1), jnp.uint32))


def _ordered(x: Float[ArrayLike, "*n"]) -> jax.Array:
    """Map f32 to u32 in the same order; -0 and 0 have the same image."""
    bits = jax.lax.bitcast_convert_type(jnp.where(x == 0, 0.0, x), jnp.uint32)
    return jnp.where(bits >= jnp.uint32(_SIGN), ~bits, bits | jnp.uint32(_SIGN))
