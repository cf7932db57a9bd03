"""Divergence of two categorical distributions, and the negative log-likelihood of an outcome."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int


def jensen_shannon(
    log_p: Float[ArrayLike, "*n V"], log_q: Float[ArrayLike, "*n V"]
) -> Float[Array, "*n"]:
    """Return the Jensen-Shannon divergence in bits: 0 for equal, 1 for disjoint distributions.

    Outcomes of probability 0 contribute nothing.

    Args:
      log_p: log-probabilities in nats; -inf is allowed.
      log_q: as `log_p`.

    Source: ERec, equation 4 (Lin 1991).
    """

    def divergence(log: jax.Array, other: jax.Array) -> jax.Array:
        """Return KL(p || (p + q) / 2) in nats."""
        # ln p - ln((p + q) / 2) = ln 2 - ln(1 + q / p), without leaving the log domain
        ratio = math.log(2) - jax.nn.softplus(other - log)
        return jnp.sum(jnp.where(log > -jnp.inf, jnp.exp(log) * ratio, 0), axis=-1)

    bits = (divergence(log_p, log_q) + divergence(log_q, log_p)) / (2 * math.log(2))
    return jnp.clip(bits, 0, 1)  # rounding errors can leave [0, 1]


def negative_log_likelihood(
    log_p: Float[ArrayLike, "*n V"], outcome: Int[ArrayLike, "*n"]
) -> Float[Array, "*n"]:
    """Return -ln p(outcome) in nats; +inf where the probability is 0.

    Args:
      log_p: log-probabilities in nats.
      outcome: an index into the last axis of `log_p`.

    Source: ERec, equation 6.
    """
    return -jnp.take_along_axis(log_p, outcome[..., None], axis=-1)[..., 0]
