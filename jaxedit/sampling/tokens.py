"""From logits of the rows of a picture to logits of its next token: guidance, top-k, top-p.

Thresholds are found by bisection on the bits of a float, which is exact and sorts nothing.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_SIGN = 1 << 31


def guide_tokens(
    logits: jax.Array, guidance: jax.Array, image_guidance: jax.Array, is_guided: jax.Array
) -> jax.Array:
    """Classifier-free guidance of one token.

    One row is returned as it is. Of two rows the second has a condition dropped; of three (dual)
    the second has the text dropped, the third text and image.

    Args:
      logits: f32[B,R,V], R rows per picture.
      guidance: f32[], weight of what the text adds.
      image_guidance: f32[], weight of what the image adds; of three rows only.
      is_guided: bool[]; False takes the first row alone.

    Returns:
      f32[B,V].

    Source: Ho and Salimans 2022, equation 6; Brooks et al. 2023 (InstructPix2Pix), equation 3.
    """
    R = logits.shape[1]
    cond = logits[:, 0]
    if R == 1:
        return cond
    guided = logits[:, 1] + guidance * (cond - logits[:, 1])
    if R == 3:
        guided = logits[:, 2] + image_guidance * (logits[:, 1] - logits[:, 2])
        guided = guided + guidance * (cond - logits[:, 1])
    return jnp.where(is_guided, guided, cond)


def truncate(logits: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """Keep the candidates of top-k, and of those the nucleus of top-p.

    Top-k keeps every code that ties with the k-th. A code is in the nucleus if the likelier
    candidates together have a probability of at most top_p.

    Args:
      logits: f32[...,V].
      top_k: i32[], at least 1; V or more = off.
      top_p: f32[]; 1 or more = off.

    Returns:
      f32[...,V], -inf outside the candidates.

    Source: Holtzman et al. 2020, section 3.1; the order of both, and ties, as in LlamaGen's code.
    """
    kept = jnp.where(among_largest(logits, top_k), logits, -jnp.inf)
    return jax.lax.cond(top_p < 1, lambda x: _nucleus(x, top_p), lambda x: x, kept)


def among_largest(x: jax.Array, k: jax.Array) -> jax.Array:
    """Which of f32[...,V] are at least as large as the k-th largest: bool[...,V]."""
    bits = _ordered(x)

    def enough(t: jax.Array) -> jax.Array:
        return jnp.sum(bits >= t, axis=-1, keepdims=True, dtype=jnp.int32) >= k

    return bits >= _largest(enough, x.shape[:-1])


def _nucleus(logits: jax.Array, top_p: jax.Array) -> jax.Array:
    """Logits with -inf where the probability of all larger ones exceeds top_p."""
    probabilities = jax.nn.softmax(logits, axis=-1)
    bits = _ordered(logits)

    def exceeds(t: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(bits >= t, probabilities, 0), axis=-1, keepdims=True) > top_p

    # The largest t from which on the codes exceed top_p is the last code of the nucleus.
    return jnp.where(bits >= _largest(exceeds, logits.shape[:-1]), logits, -jnp.inf)


def _largest(holds: Callable[[jax.Array], jax.Array], shape: tuple[int, ...]) -> jax.Array:
    """The largest u32[*shape,1] for which `holds`, which turns from True to False once; or 0."""

    def step(i: jax.Array, bound: jax.Array) -> jax.Array:
        candidate = bound | (jnp.uint32(_SIGN) >> i.astype(jnp.uint32))
        return jnp.where(holds(candidate), candidate, bound)

    return jax.lax.fori_loop(0, 32, step, jnp.zeros((*shape, 1), jnp.uint32))


def _ordered(x: jax.Array) -> jax.Array:
    """f32 as u32 in the same order; both zeros are one."""
    bits = jax.lax.bitcast_convert_type(jnp.where(x == 0, 0.0, x), jnp.uint32)
    return jnp.where(bits >= jnp.uint32(_SIGN), ~bits, bits | jnp.uint32(_SIGN))
