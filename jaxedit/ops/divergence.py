"""How far apart two categorical distributions are, and how unlikely one outcome is."""

import math

import jax
import jax.numpy as jnp


def jensen_shannon(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """Jensen-Shannon divergence in bits; outcomes of probability 0 contribute nothing.

    Args:
      log_p: f32[...,V], log-probabilities in nats; -inf is allowed.
      log_q: f32[...,V].

    Returns:
      f32[...] in [0,1], symmetric in its arguments; 1 for disjoint supports.

    Source: ERec, equation 4 (Lin 1991).
    """

    def divergence(log: jax.Array, other: jax.Array) -> jax.Array:  # from the middle, nats
        ratio = math.log(2) - jax.nn.softplus(other - log)  # log - log((p + q) / 2)
        return jnp.sum(jnp.where(log > -jnp.inf, jnp.exp(log) * ratio, 0), axis=-1)

    bits = (divergence(log_p, log_q) + divergence(log_q, log_p)) / (2 * math.log(2))
    return jnp.clip(bits, 0, 1)  # rounding


def negative_log_likelihood(log_p: jax.Array, outcome: jax.Array) -> jax.Array:
    """-ln p of one outcome each, nats; +inf where its probability is 0.

    Args:
      log_p: f32[...,V], log-probabilities in nats.
      outcome: i32[...].

    Returns:
      f32[...].

    Source: ERec, equation 6.
    """
    return -jnp.take_along_axis(log_p, outcome[..., None], axis=-1)[..., 0]
