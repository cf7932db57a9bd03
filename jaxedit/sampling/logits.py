"""From logits to decisions about bits: guidance, temperature, top-p, and the draw."""

import jax
import jax.numpy as jnp


def guide(
    cond: jax.Array, uncond: jax.Array, guidance: jax.Array, temperature: jax.Array
) -> jax.Array:
    """Classifier-free guidance of logits divided by the temperature.

    Args:
      cond: f32[...], logits given the text.
      uncond: f32[...], logits without it.
      guidance: f32[], 1 = off.
      temperature: f32[], positive.

    Returns:
      f32[...], `(g cond + (1 - g) uncond) / temperature`.

    Source: Classifier-Free Diffusion Guidance (Ho and Salimans), equation 6.
    """
    return (guidance * cond + (1 - guidance) * uncond) / temperature


def probability(logits: jax.Array, top_p: jax.Array) -> jax.Array:
    """Return the probability of bit 1 after top-p.

    Of the two values top-p drops the less likely one if its probability is at most 1 - top_p. If
    both are equally likely, it drops 0, as the release does, whose ascending sort is stable.

    Args:
      logits: f32[...,2], of the bit being 0 and 1.
      top_p: f32[] in (0,1]; 1 = off.

    Returns:
      f32[...].

    Source: The Curious Case of Neural Text Degeneration (Holtzman et al.), section 3.1.
    """
    zero, one = logits[..., 0], logits[..., 1]
    p = jax.nn.sigmoid(one - zero)
    if_one = jnp.where(1 - p <= 1 - top_p, 1.0, p)
    if_zero = jnp.where(p <= 1 - top_p, 0.0, p)
    return jnp.where(one >= zero, if_one, if_zero)


def choose_bits(logits: jax.Array, top_p: jax.Array, uniforms: jax.Array | None) -> jax.Array:
    """Draw each bit, or take the likelier value.

    Args:
      logits: f32[...,2].
      top_p: f32[] in (0,1].
      uniforms: f32[...] in [0,1), or None for the likelier value (0 if equal).

    Returns:
      bool[...], True where `uniforms` is below the probability of bit 1.
    """
    if uniforms is None:
        return logits[..., 1] > logits[..., 0]
    return uniforms < probability(logits, top_p)
