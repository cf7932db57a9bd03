"""Divergence of two distributions, and the negative log-likelihood of an outcome."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int


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


def log_bernoulli(log_odds: Float[ArrayLike, "*n"]) -> Float[Array, "*n 2"]:
    """Return the log-probabilities of a bit being 0, and being 1; log-odds may be infinite."""
    return jnp.stack([jax.nn.log_sigmoid(-log_odds), jax.nn.log_sigmoid(log_odds)], axis=-1)


def bits_jensen_shannon(
    log_odds_p: Float[ArrayLike, "*n Q"], log_odds_q: Float[ArrayLike, "*n Q"]
) -> Float[Array, "*n"]:
    """Return a bound on the Jensen-Shannon divergence of two distributions of tokens, in bits.

    A token is Q independent bits. The divergence is the information that a drawn token gives about
    which of the two distributions it was drawn from. For independent bits it is at most the sum of
    the bits' divergences, and it is never above 1. (The 2^Q tokens cannot be summed over.)

    Args:
      log_odds_p: log-odds of each bit being 1.
      log_odds_q: as `log_odds_p`.
    """
    each = jensen_shannon(log_bernoulli(log_odds_p), log_bernoulli(log_odds_q))
    return jnp.minimum(jnp.sum(each, axis=-1), 1)


def bits_negative_log_likelihood(
    log_odds: Float[ArrayLike, "*n Q"], bits: Bool[ArrayLike, "*n Q"]
) -> Float[Array, "*n"]:
    """Return -ln p of a token in nats: the sum over its Q independent bits.

    Args:
      log_odds: log-odds of each bit being 1.
      bits: the token.
    """
    each = negative_log_likelihood(log_bernoulli(log_odds), bits.astype(jnp.int32))
    return jnp.sum(each, axis=-1)
