"""The losses of next-scale prediction (bits) and of next-token prediction (codes)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxedit.config import Scales
from jaxedit.sharding.rules import gather

CODES_AT_ONCE = 2048  # of how many codes `head_loss` has the logits in memory


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
    """Return the share of each scale in the loss, f64[K] with sum 1.

    Args:
      scales: token grids (h_k, w_k).
      kind: "sqrt_area": a scale weighs sqrt(h * w), so that coarse scales count more than their
        few tokens; "uniform": every token weighs the same.
    """
    area = np.array([h * w for h, w in scales], np.float64)
    share = np.sqrt(area) if kind == "sqrt_area" else area
    return share / share.sum()


def bitwise_loss(
    logits: jax.Array,
    bits: jax.Array,
    scales: Scales,
    weights: str = "sqrt_area",
    valid: jax.Array | None = None,
) -> BitwiseLoss:
    """Return the cross-entropy of the bits, averaged in each scale and weighted between scales.

    Args:
      logits: f32[B,Lt,Q,2], of False and True.
      bits: bool[B,Lt,Q], the right values.
      scales: token grids, Lt = sum of h_k * w_k.
      weights: see `scale_weights`.
      valid: bool[B], rows that count; None is all.

    Source: Han et al. 2024 (Infinity), section 3.3; the weights are the release code's
    `reweight_loss_by_scale`.
    """
    margin = (logits[..., 1] - logits[..., 0]).astype(jnp.float32) * jnp.where(bits, 1.0, -1.0)
    entropy = jax.nn.softplus(-margin)  # [B,Lt,Q]
    ends = np.cumsum([math.prod(scale) for scale in scales])[:-1].tolist()

    def per_scale(values: jax.Array) -> jax.Array:
        return jnp.stack([mean_of_rows(part, valid) for part in jnp.split(values, ends, axis=1)])

    losses = per_scale(entropy)
    share = jnp.asarray(scale_weights(scales, weights), jnp.float32)
    return BitwiseLoss(jnp.sum(losses * share), losses, per_scale((margin > 0).astype(jnp.float32)))


class TokenLoss(NamedTuple):
    """The loss and what to watch of it.

    loss: f32[], mean cross-entropy in nats per token.
    right: bool[B,N], where the likeliest code is the right one.
    """

    loss: jax.Array
    right: jax.Array


def token_loss(logits: jax.Array, codes: jax.Array, valid: jax.Array | None = None) -> TokenLoss:
    """Return the cross-entropy of the codes, every token weighing the same.

    Args:
      logits: f32[B,N,V].
      codes: i32[B,N], the right codes.
      valid: bool[B], rows that count, the loss is 0 if none does; None is all.

    Source: Sun et al. 2024 (LlamaGen), section 2.2.
    """
    logits = logits.astype(jnp.float32)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, codes)  # [B,N]
    rows = jnp.ones(len(codes), bool) if valid is None else valid
    return TokenLoss(mean_of_rows(entropy, rows), jnp.argmax(logits, axis=-1) == codes)


def head_loss(
    hidden: jax.Array, kernel: jax.Array, codes: jax.Array, valid: jax.Array | None = None
) -> TokenLoss:
    """Return `token_loss` of the logits `hidden @ kernel`, of which only a part is in memory.

    It goes through the vocabulary part by part, and the backward pass computes each part again: so
    a part of the kernel's gradient is complete at once, and devices add each up only once.

    Args:
      hidden: f32[B,N,D].
      kernel: f32[D,V].
      codes: i32[B,N], the right codes.
      valid: bool[B], rows that count; None is all.
    """
    D, V = kernel.shape
    if V % CODES_AT_ONCE or V == CODES_AT_ONCE:
        return token_loss(jnp.einsum("bnd,dv->bnv", hidden, kernel), codes, valid)
    parts = kernel.reshape(D, -1, CODES_AT_ONCE).transpose(1, 0, 2)
    parts = gather(parts, (None, "embed", "vocab"))

    @jax.checkpoint
    def one(kernel: jax.Array, first: jax.Array) -> tuple[jax.Array, ...]:
        logits = jnp.einsum("bnd,dv->bnv", hidden, kernel)
        is_right = jnp.arange(CODES_AT_ONCE)[None, None] == (codes - first)[:, :, None]
        right = jnp.sum(jnp.where(is_right, logits, 0), axis=-1)  # 0 if it is in another part
        likeliest = jnp.argmax(logits, axis=-1) + first
        return jax.nn.logsumexp(logits, axis=-1), right, logits.max(axis=-1), likeliest

    xs = (parts, jnp.arange(0, V, CODES_AT_ONCE))
    _, found = jax.lax.scan(lambda _, x: (None, one(*x)), None, xs)
    total, right, top, likeliest = found  # [V/part,B,N] each
    entropy = jax.nn.logsumexp(total, axis=0) - right.sum(axis=0)
    best = jnp.argmax(top, axis=0, keepdims=True)
    best = jnp.take_along_axis(likeliest, best, axis=0)[0]
    return TokenLoss(mean_of_rows(entropy, valid), best == codes)


def distillation_loss(
    student: jax.Array, teacher: jax.Array, valid: jax.Array | None = None
) -> jax.Array:
    """Return the mean squared distance of predicted features to the teacher's, a constant.

    Args:
      student: f32[B,n,D], the transformer's features after its alignment head.
      teacher: f32[B,n,D], patch features of the target picture.
      valid: bool[B], rows that count; None is all.

    Returns:
      f32[].

    Source: EditAR (Mu et al. 2025), section 3.3.
    """
    distance = (student.astype(jnp.float32) - jax.lax.stop_gradient(teacher)) ** 2
    return mean_of_rows(distance, valid)


def token_accuracies(
    right: jax.Array,
    source: jax.Array | None,
    target: jax.Array,
    valid: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """Return the share of right codes: of all and, with a source, of those to copy and to change.

    Args:
      right: bool[B,N], where the likeliest code is the target's.
      source: i32[B,N], or None.
      target: i32[B,N].
      valid: bool[B], rows that count; None is all.
    """
    metrics = {"accuracy": mean_of_rows(right, valid)}
    if source is None:
        return metrics
    kept, changed = source == target, source != target
    if valid is not None:
        kept, changed = kept & valid[:, None], changed & valid[:, None]
    return metrics | {
        "accuracy_copy": mean_where(right, kept),
        "accuracy_edit": mean_where(right, changed),
    }


def accuracy_by_quarter(right: jax.Array, valid: jax.Array | None) -> dict[str, jax.Array]:
    """Return the share of right codes in each quarter of the sequence, from the top down.

    Args:
      right: bool[B,N], where the likeliest code is the target's.
      valid: bool[B], rows that count; None is all.
    """
    quarters = jnp.array_split(right, 4, axis=1)
    return {f"accuracy_q{i}": mean_of_rows(x, valid) for i, x in enumerate(quarters, 1)}


def mean_where(values: jax.Array, where: jax.Array) -> jax.Array:
    """Return the mean f32[] of the values at True, 0 if there is none; both have one shape."""
    weight = where.astype(jnp.float32)
    return jnp.sum(values.astype(jnp.float32) * weight) / jnp.maximum(weight.sum(), 1.0)


def mean_of_rows(
    values: jax.Array, valid: jax.Array | None, axis: tuple[int, ...] | None = None
) -> jax.Array:
    """Return the mean of values [B,...] over all axes, or those of `axis`, in the valid rows.

    Args:
      values: a row of a batch first.
      valid: bool[B], rows that count, the mean is 0 if none does; None is all.
      axis: the first axis and perhaps others; None is all.
    """
    if valid is None:
        return jnp.mean(values, axis)
    rows = valid.reshape(-1, *[1] * (values.ndim - 1))
    total = jnp.sum(jnp.where(rows, values.astype(jnp.float32), 0.0), axis)
    count_of_row = values[0].size // total.size
    return total / jnp.maximum(valid.sum() * count_of_row, 1).astype(jnp.float32)
