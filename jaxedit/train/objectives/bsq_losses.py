"""The differentiable pyramid of bits, and the quantiser's losses on it.

Source: Han et al. 2024 (Infinity), section 3.2, and the training code of its tokenizer (BitVAE).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Key

from jaxedit.config import BSQTrainConfig, Scales
from jaxedit.ops import pyramid, quantize
from jaxedit.train.losses import mean_of_rows


class QuantizerTerms(NamedTuple):
    """Terms of the quantiser's loss, per scale or averaged over the kept scales.

    Attributes:
      commit: mean squared distance of the unit residual from its code.
      sample_entropy: entropy of each position's bits in nats, summed over bits; low: decided.
      code_entropy: entropy of each bit over all positions; high: all codes are used.
    """

    commit: Float[Array, "*K"]
    sample_entropy: Float[Array, "*K"]
    code_entropy: Float[Array, "*K"]


class Quantized(NamedTuple):
    """The quantised pyramid of a batch.

    Attributes:
      features: sum of scales 1 to k, for each k; the last is decoded.
      terms: of each scale.
      bit_rates: share of positive bits.
    """

    features: Float[Array, "K B H W d"]
    terms: QuantizerTerms
    bit_rates: Float[Array, "K d"]


def quantize_pyramid(
    raw: Float[Array, "B H W d"],
    scales: Scales,
    keep: Bool[Array, " K"],
    *,
    inv_temperature: float,
    valid: Bool[ArrayLike, " B"] | None = None,
) -> Quantized:
    """Quantise the encoder's output scale by scale, with straight-through gradients.

    Residuals are not detached: each scale gets the gradient that the coarser scales leave, so that
    the gradient of the sum does not grow with the number of scales.

    Args:
      raw: the encoder's output.
      scales: grids in latent positions; the last is (H, W).
      keep: a scale that is not kept adds nothing.
      inv_temperature: sharpness of the entropies.
      valid: pictures that count in terms and rates; None: all.
    """
    residual, cum = raw, jnp.zeros_like(raw)
    features, terms, rates = [], [], []
    for k, size in enumerate(scales):
        r = pyramid.area_resize(residual, size)
        codes, bits = quantize.quantize_ste(r)
        codes = jnp.where(keep[k], pyramid.linear_resize(codes, scales[-1]), 0)
        residual, cum = residual - codes, cum + codes
        features.append(cum)
        terms.append(quantizer_terms(quantize.normalize(r), bits, inv_temperature, valid))
        rates.append(mean_of_rows(bits.astype(jnp.float32), valid, (0, 1, 2)))
    stacked = QuantizerTerms(*map(jnp.stack, zip(*terms, strict=True)))
    return Quantized(jnp.stack(features), stacked, jnp.stack(rates))


def quantizer_terms(
    unit: Float[Array, "B h w d"],
    bits: Bool[Array, "B h w d"],
    inv_temperature: float,
    valid: Bool[ArrayLike, " B"] | None = None,
) -> QuantizerTerms:
    """Return commitment and entropies of a scale's unit residuals and their bits."""
    codes = quantize.codes_of(bits)
    commit = mean_of_rows((unit - codes) ** 2, valid)
    negative = jax.nn.sigmoid(-4 * inv_temperature * unit.shape[-1] ** -0.5 * unit)
    sample = mean_of_rows(binary_entropy(negative).sum(-1), valid)
    code = binary_entropy(mean_of_rows(negative, valid, (0, 1, 2))).sum()
    return QuantizerTerms(commit, sample, code)


def quantizer_loss(terms: QuantizerTerms, config: BSQTrainConfig) -> Float[Array, "*K"]:
    """Return the weighted sum of the terms."""
    entropy = (terms.sample_entropy - terms.code_entropy) / config.inv_temperature
    aux = config.commit_weight * terms.commit + config.entropy_weight * entropy
    return config.quantizer_weight * aux


def mean_of_kept(values: Float[Array, " K"], keep: Bool[Array, " K"]) -> Float[Array, ""]:
    """Return the mean over the kept scales."""
    return jnp.sum(jnp.where(keep, values, 0)) / jnp.sum(keep)


def draw_kept(key: Key[Array, ""], scales: int, drop: float) -> Bool[Array, " K"]:
    """Draw which of K scales are kept: each but the last is dropped with probability `drop`."""
    keep = jax.random.bernoulli(key, 1 - drop, (scales,))
    return keep.at[-1].set(True)


def binary_entropy(p: Float[ArrayLike, "*n"]) -> Float[Array, "*n"]:
    """Return the entropy in nats of coins with probability p; finite at 0 and 1."""
    # The reference adds 1e-8 inside the log, but XLA folds log(1 - p + 1e-8) to log(1 - p).
    return -sum(x * jnp.log(jnp.maximum(x, 1e-8)) for x in (p, 1 - p))
