"""Losses of next-scale prediction (bits) and next-token prediction (codes), and their metrics."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Float64, Int, Shaped

from jaxedit.config import Scales
from jaxedit.sharding.rules import gather

CODES_AT_ONCE = 2048  # number of codes whose logits `head_loss` holds in memory


class BitwiseLoss(NamedTuple):
    """The loss of a batch of bits, and its metrics.

    Attributes:
      loss: mean cross-entropy, weighted over scales, in nats per bit.
      per_scale: cross-entropy of each scale, in nats per bit.
      accuracy: share of each scale's bits whose likelier value is right.
    """

    loss: Float[Array, ""]
    per_scale: Float[Array, " K"]
    accuracy: Float[Array, " K"]


def scale_weights(scales: Scales, kind: str) -> Float64[np.ndarray, " K"]:
    """Return the share of each scale in the loss; the sum is 1.

    With `kind` "sqrt_area" a scale of h x w tokens has weight sqrt(h * w), so that coarse scales
    count more than their few tokens; with "uniform" all tokens have equal weight.
    """
    area = np.array([h * w for h, w in scales], np.float64)
    share = np.sqrt(area) if kind == "sqrt_area" else area
    return share / share.sum()


def bitwise_loss(
    logits: Float[ArrayLike, "B Lt Q 2"],
    bits: Bool[ArrayLike, "B Lt Q"],
    scales: Scales,
    weights: str = "sqrt_area",
    valid: Bool[ArrayLike, " B"] | None = None,
) -> BitwiseLoss:
    """Return the cross-entropy of the bits, averaged in each scale and weighted between scales.

    Args:
      logits: of False and True.
      bits: the right values.
      scales: token grids; Lt is the sum of h_k * w_k.
      weights: see `scale_weights`.
      valid: rows that count; None: all.

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
    """The loss of a batch of codes.

    Attributes:
      loss: mean cross-entropy in nats per token.
      right: where the likeliest code is right.
    """

    loss: Float[Array, ""]
    right: Bool[Array, "B N"]


def token_loss(
    logits: Float[ArrayLike, "B N V"],
    codes: Int[ArrayLike, "B N"],
    valid: Bool[ArrayLike, " B"] | None = None,
) -> TokenLoss:
    """Return the cross-entropy of the right codes; all tokens have equal weight.

    Only `valid` rows count (None: all rows); the loss is 0 if there is none.

    Source: Sun et al. 2024 (LlamaGen), section 2.2.
    """
    logits = logits.astype(jnp.float32)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, codes)  # [B,N]
    rows = jnp.ones(len(codes), bool) if valid is None else valid
    return TokenLoss(mean_of_rows(entropy, rows), jnp.argmax(logits, axis=-1) == codes)


def head_loss(
    hidden: Float[ArrayLike, "B N D"],
    kernel: Float[ArrayLike, "D V"],
    codes: Int[ArrayLike, "B N"],
    valid: Bool[ArrayLike, " B"] | None = None,
) -> TokenLoss:
    """Return `token_loss` of the logits `hidden @ kernel`, of which only a part is in memory.

    The vocabulary is processed in parts, and the backward pass recomputes the logits of each part.
    Each part of the kernel's gradient is then complete at once: devices reduce it only once.
    """
    D, V = kernel.shape
    if V % CODES_AT_ONCE or V == CODES_AT_ONCE:
        return token_loss(jnp.einsum("bnd,dv->bnv", hidden, kernel), codes, valid)
    parts = kernel.reshape(D, -1, CODES_AT_ONCE).transpose(1, 0, 2)
    parts = gather(parts, (None, "embed", "vocab"))

    @jax.checkpoint
    def part_of(kernel: jax.Array, first: jax.Array) -> tuple[jax.Array, ...]:
        logits = jnp.einsum("bnd,dv->bnv", hidden, kernel)
        is_right = jnp.arange(CODES_AT_ONCE)[None, None] == (codes - first)[:, :, None]
        right = jnp.sum(jnp.where(is_right, logits, 0), axis=-1)  # 0: the code is in another part
        likeliest = jnp.argmax(logits, axis=-1) + first
        return jax.nn.logsumexp(logits, axis=-1), right, logits.max(axis=-1), likeliest

    xs = (parts, jnp.arange(0, V, CODES_AT_ONCE))
    _, found = jax.lax.scan(lambda _, x: (None, part_of(*x)), None, xs)
    total, right, top, likeliest = found  # [V/part,B,N] each
    entropy = jax.nn.logsumexp(total, axis=0) - right.sum(axis=0)
    best = jnp.argmax(top, axis=0, keepdims=True)
    best = jnp.take_along_axis(likeliest, best, axis=0)[0]
    return TokenLoss(mean_of_rows(entropy, valid), best == codes)


def distillation_loss(
    student: Float[ArrayLike, "B n D"],
    teacher: Float[ArrayLike, "B n D"],
    valid: Bool[ArrayLike, " B"] | None = None,
) -> Float[Array, ""]:
    """Return the mean squared distance of the transformer's aligned features to the teacher's.

    The teacher's features of the target picture's patches are constants. Only `valid` rows count.

    Source: EditAR (Mu et al. 2025), section 3.3.
    """
    distance = (student.astype(jnp.float32) - jax.lax.stop_gradient(teacher)) ** 2
    return mean_of_rows(distance, valid)


def token_accuracies(
    right: Bool[ArrayLike, "B N"],
    source: Int[ArrayLike, "B N"] | None,
    target: Int[ArrayLike, "B N"],
    valid: Bool[ArrayLike, " B"] | None = None,
) -> dict[str, Array]:
    """Return the share of right codes: of all and, with a source, of codes to copy and to change.

    Args:
      right: where the likeliest code is the target's.
      source: codes of the source picture, if any.
      target: codes of the target picture.
      valid: rows that count; None: all.
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


def accuracy_by_quarter(
    right: Bool[ArrayLike, "B N"], valid: Bool[ArrayLike, " B"] | None
) -> dict[str, Array]:
    """Return the share of right codes in each quarter of the picture, from top to bottom."""
    quarters = jnp.array_split(right, 4, axis=1)
    return {f"accuracy_q{i}": mean_of_rows(x, valid) for i, x in enumerate(quarters, 1)}


def mean_where(values: Shaped[ArrayLike, "*n"], where: Bool[ArrayLike, "*n"]) -> Float[Array, ""]:
    """Return the mean of the values at True, or 0 if there is none."""
    weight = where.astype(jnp.float32)
    return jnp.sum(values.astype(jnp.float32) * weight) / jnp.maximum(weight.sum(), 1.0)


def mean_of_rows(
    values: Shaped[ArrayLike, "B ..."],
    valid: Bool[ArrayLike, " B"] | None,
    axis: tuple[int, ...] | None = None,
) -> Float[Array, "..."]:
    """Return the mean of a batch's values over its valid rows.

    Args:
      values: numbers or truth values.
      valid: rows that count (None: all); the mean is 0 if there is none.
      axis: axes to average over, the first axis among them; None: all.
    """
    if valid is None:
        return jnp.mean(values, axis)
    rows = valid.reshape(-1, *[1] * (values.ndim - 1))
    total = jnp.sum(jnp.where(rows, values.astype(jnp.float32), 0.0), axis)
    count_of_row = values[0].size // total.size
    return total / jnp.maximum(valid.sum() * count_of_row, 1).astype(jnp.float32)
