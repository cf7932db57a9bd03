"""Losses of the image tokenizer, and the differentiable pyramid that they are measured on.

Source: Han et al. 2024 (Infinity), section 3.2, and its tokenizer's training code (BitVAE).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import BSQTrainConfig, Scales
from jaxedit.ops import pyramid, quantize
from jaxedit.train.losses import mean_of_rows


class QuantizerTerms(NamedTuple):
    """What one scale, or the mean of the kept scales, adds to the loss; f32[] each, in nats.

    commit: mean squared distance of the unit residual from its code.
    sample_entropy: of each position's bits, summed over bits; low = decided.
    code_entropy: of each bit over all positions, summed over bits; high = all codes are used.
    """

    commit: jax.Array
    sample_entropy: jax.Array
    code_entropy: jax.Array


class Quantized(NamedTuple):
    """One pass through the pyramid.

    features: f32[K,B,H,W,d], the sum of scales 1 to k; the last one is decoded.
    terms: each f32[K].
    bit_rates: f32[K,d], the share of positive bits.
    """

    features: jax.Array
    terms: QuantizerTerms
    bit_rates: jax.Array


def quantize_pyramid(
    raw: jax.Array,
    scales: Scales,
    keep: jax.Array,
    *,
    inv_temperature: float,
    valid: jax.Array | None = None,
) -> Quantized:
    """Quantize `raw` scale by scale with straight-through gradients.

    Residuals are not detached: each scale sees what the gradient of the coarser ones leaves, so
    that the gradient of the sum does not grow with the number of scales.

    Args:
      raw: f32[B,H,W,d], the encoder's output.
      scales: grids in latent positions; the last is (H, W).
      keep: bool[K]; a scale that is not kept adds nothing.
      inv_temperature: sharpness of the entropies.
      valid: bool[B], pictures that count in terms and rates; None is all.
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
    unit: jax.Array, bits: jax.Array, inv_temperature: float, valid: jax.Array | None = None
) -> QuantizerTerms:
    """Return commitment and entropies of unit residuals f32[B,h,w,d] and bits bool[B,h,w,d]."""
    codes = quantize.codes_of(bits)
    commit = mean_of_rows((unit - codes) ** 2, valid)
    negative = jax.nn.sigmoid(-4 * inv_temperature * unit.shape[-1] ** -0.5 * unit)
    sample = mean_of_rows(binary_entropy(negative).sum(-1), valid)
    code = binary_entropy(mean_of_rows(negative, valid, (0, 1, 2))).sum()
    return QuantizerTerms(commit, sample, code)


def quantizer_loss(terms: QuantizerTerms, config: BSQTrainConfig) -> jax.Array:
    """Return the weighted sum of the terms, of the shape that they have."""
    entropy = (terms.sample_entropy - terms.code_entropy) / config.inv_temperature
    aux = config.commit_weight * terms.commit + config.entropy_weight * entropy
    return config.quantizer_weight * aux


def mean_of_kept(values: jax.Array, keep: jax.Array) -> jax.Array:
    """Return the mean over scales of f32[K] where keep bool[K]."""
    return jnp.sum(jnp.where(keep, values, 0)) / jnp.sum(keep)


def draw_kept(key: jax.Array, scales: int, drop: float) -> jax.Array:
    """Draw the scales of a step, bool[K]: each but the last is dropped with probability `drop`."""
    keep = jax.random.bernoulli(key, 1 - drop, (scales,))
    return keep.at[-1].set(True)


def binary_entropy(p: jax.Array) -> jax.Array:
    """Return the entropy in nats of coins with probability p f32[...]; finite at 0 and 1."""
    # The reference adds 1e-8 inside the log, but XLA folds log(1 - p + 1e-8) to log(1 - p).
    return -sum(x * jnp.log(jnp.maximum(x, 1e-8)) for x in (p, 1 - p))
