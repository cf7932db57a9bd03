"""The loss of next-scale prediction: two-way cross-entropy of every bit."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.config import Scales


class BitwiseLoss(NamedTuple):
    """The loss and what to watch of it, means over the batch.

    loss: f32[], weighted over scales, in nats per bit.
    per_scale: f32[K], cross-entropy of each scale, in nats per bit.
    accuracy: f32[K], share of bits of each scale whose likelier value is right.
    """

    loss: jax.Array
    per_scale: jax.Array
    accuracy: jax.Array


def scale_weights(scales: Scales, kind: str) -> np.ndarray:
    """The share of each scale in the loss, f64[K] with sum 1.

    Args:
      scales: token grids (h_k, w_k).
      kind: "sqrt_area": a scale weighs sqrt(h * w), so that coarse scales count more than their
        few tokens; "uniform": every token weighs the same.
    """
    area = np.array([h * w for h, w in scales], np.float64)
    share = np.sqrt(area) if kind == "sqrt_area" else area
    return share / share.sum()


def bitwise_loss(
    logits: jax.Array, bits: jax.Array, scales: Scales, weights: str = "sqrt_area"
) -> BitwiseLoss:
    """Cross-entropy of the bits, averaged within each scale and weighted between scales.

    Args:
      logits: f32[B,Lt,Q,2], of False and True.
      bits: bool[B,Lt,Q], the right values.
      scales: token grids, Lt = sum of h_k * w_k.
      weights: see `scale_weights`.

    Source: Han et al. 2024 (Infinity), section 3.3; the weights are the release code's
    `reweight_loss_by_scale`.
    """
    margin = (logits[..., 1] - logits[..., 0]).astype(jnp.float32) * jnp.where(bits, 1.0, -1.0)
    entropy = jax.nn.softplus(-margin)  # [B,Lt,Q]
    ends = np.cumsum([math.prod(scale) for scale in scales])[:-1].tolist()

    def per_scale(values: jax.Array) -> jax.Array:
        return jnp.stack([jnp.mean(part) for part in jnp.split(values, ends, axis=1)])

    losses = per_scale(entropy)
    share = jnp.asarray(scale_weights(scales, weights), jnp.float32)
    return BitwiseLoss(jnp.sum(losses * share), losses, per_scale((margin > 0).astype(jnp.float32)))
