"""Next-token decoding of LlamaGen and EditAR: a prefix, then one token after another on device.

An image has R rows: with its instruction, without it, or of a second decoding path. Three facts
make a step cheap, all of them exact:

- The source image comes first in a causal sequence, so its keys and values depend on nothing else.
  They are computed once (`prefill_image`) and serve all rows and all instructions.
- Rotary tables are zero at the text, so that T text tokens are like a single token to all later
  tokens, see `TextPrefix`.
- Each layer's cache is an array of its own in the loop's carry, updated in place.

Every function takes the `weights` that `unstack` returns, and the sizes in `config`. Axis letters:
N tokens of an image, R rows per image, M = B*R.

Source: release code of LlamaGen and EditAR, for the results; the way to compute them is ours.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int, Int32

from jaxedit.config import EditARConfig
from jaxedit.models.editar import TextMLP
from jaxedit.models.editar_attention import (
    CausalSequence,
    NextTokens,
    RowCache,
    TextPrefix,
    query_key_table,
)
from jaxedit.models.editar_block import EditARBlock
from jaxedit.nn.attention import AttentionPattern
from jaxedit.nn.kv_cache import KeysValues, SharedSpan
from jaxedit.nn.layers import rms_norm
from jaxedit.ops import rope
from jaxedit.ops.int8 import product
from jaxedit.sampling.decode_weights import Weights

# Features of the text encoder, or classes.
Condition = Float[ArrayLike, "B R T Ct"] | Int[ArrayLike, "B R"]


@no_type_check  # as a pytree it also holds shardings and abstract shapes
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prefix:
    """Keys and values of source images, per layer; empty for models that read no image.

    Attributes:
      picture: keys and values of B images.
      null: keys and values of the constant that replaces a dropped image, the same for all; or
        empty.
      null_rows: number of rows of each image, the last rows, that see `null` instead of the image.
    """

    picture: tuple[KeysValues, ...] = ()
    null: tuple[KeysValues, ...] = ()
    null_rows: int = dataclasses.field(default=0, metadata={"static": True})

    def spans(self, layer: int, rows: int) -> list[SharedSpan]:
        """Return what each of R rows sees in a layer."""
        spans = [SharedSpan(self.picture[layer], rows - self.null_rows)] if self.picture else []
        return spans + ([SharedSpan(self.null[layer], self.null_rows)] if self.null_rows else [])


class Past(NamedTuple):
    """The keys and values of what each row has read after the images.

    Attributes:
      caches: per layer, of M rows; slot 0 stands for the text, slot p+1 is the token at position p.
      text_score: ln of the number of text tokens that are seen.
    """

    caches: tuple[KeysValues, ...]
    text_score: Float32[Array, " M"]


def prefill_image(
    weights: Weights,
    config: EditARConfig,
    source: Int[ArrayLike, "B N"],
    drop: Bool[ArrayLike, " B"] | None = None,
) -> Prefix:
    """Read the tokens of source images; without any text, so that every instruction can follow.

    The null image replaces the images where `drop` is True.
    """
    x = weights.embed[source].astype(jnp.float32)
    if drop is not None:
        x = jnp.where(drop[:, None, None], weights.null.image[None], x)
    return Prefix(_read_image(weights, config, x))


def prefill_null(weights: Weights, config: EditARConfig) -> tuple[KeysValues, ...]:
    """Return the keys and values of the null image, as `Prefix.null` takes them."""
    return _read_image(weights, config, weights.null.image[None])


def start(
    weights: Weights,
    config: EditARConfig,
    prefix: Prefix,
    condition: Condition,
    mask: Bool[ArrayLike, "B R T"] | None = None,
    *,
    slots: int,
) -> tuple[Past, Float32[Array, "B R V"]]:
    """Read the text of every row, after the images; return the past and the first token's logits.

    Args:
      weights: of the transformer.
      config: sizes.
      prefix: of B images, or empty.
      condition: features of the text encoder, or classes.
      mask: tokens that others see; None: all.
      slots: length of the caches, see `Past`.
    """
    B, R = condition.shape[:2]
    x = _embed_condition(weights, config, condition)  # [M,T,D]
    seen = jnp.ones(x.shape[:2], bool) if mask is None else mask.reshape(x.shape[:2])
    pattern = TextPrefix(seen, weights.layout, slots=slots, heads=config.heads, rows=R)
    x, caches = _run_layers(
        weights, config, x, pattern, lambda i: prefix.spans(i, R), values_only=True
    )
    past = Past(caches, jnp.log(jnp.sum(seen.astype(jnp.float32), axis=1)))
    return past, _predict(weights, config, x[:, -1]).reshape(B, R, -1)


def grow(weights: Weights, past: Past, slots: int) -> Past:
    """Return the past with caches of `slots` slots."""
    longer = functools.partial(weights.layout.grow, length=slots)
    return past._replace(caches=jax.tree.map(longer, past.caches))


def extend(
    weights: Weights,
    config: EditARConfig,
    prefix: Prefix,
    past: Past,
    tokens: Int32[Array, "B R W"],
    position: Int32[Array, " P"],
) -> tuple[Past, Float32[Array, "B R W V"]]:
    """Run the next W tokens of every row through all layers.

    Args:
      weights: of the transformer.
      config: sizes.
      prefix: as for `start`.
      past: what was read before; tokens at `position` and later are overwritten.
      tokens: W tokens of each row; each sees the tokens before it.
      position: of the first of the W tokens, of all images or of each.

    Returns:
      The longer past, and the logits of the tokens after each of the W.
    """
    B, R, W = tokens.shape
    bias = _own_bias(weights, past, position, W)
    at = position[:, None] + jnp.arange(W)[None]  # [P,W]
    if at.size > 1:
        at = jnp.broadcast_to(at[:, None], (B, R, W)).reshape(-1)  # each token has its own
    table = jnp.asarray(rope.sequence_table(config)[:, config.prefix_tokens :])
    pattern = NextTokens(
        query_key_table(jnp.take(table, at.ravel(), axis=1, mode="clip"), config),
        bias=bias,
        slot=position + 1,
        layout=weights.layout,
        rows=R,
    )
    x = weights.embed[tokens.reshape(1, -1)].astype(jnp.float32)  # [1,M*W,D]
    x, caches = _run_layers(
        weights, config, x, pattern, lambda i: RowCache(past.caches[i], prefix.spans(i, R))
    )
    logits = _predict(weights, config, x[0]).reshape(B, R, W, -1)
    return past._replace(caches=caches), logits


def _read_image(weights: Weights, config: EditARConfig, x: jax.Array) -> tuple[KeysValues, ...]:
    """Return the keys and values of all layers for embeddings f32[B,N,D] of images."""
    table = jnp.asarray(rope.sequence_table(config)[:, : config.image_tokens])
    pattern = CausalSequence(table, layout=weights.layout)
    return _run_layers(weights, config, x, pattern, lambda i: None)[1]


def _run_layers(
    weights: Weights,
    config: EditARConfig,
    x: jax.Array,
    pattern: AttentionPattern,
    past: Callable[[int], Any],
    *,
    values_only: bool = False,
) -> tuple[jax.Array, tuple[KeysValues, ...]]:
    """Run tokens f32[...,S,D] through all layers, unrolled: slices of a stack would be copies.

    `past` maps the number of a layer to what the pattern needs of earlier tokens. Returned are the
    hidden states, and the keys and values that each layer keeps.
    """
    block = EditARBlock(config, weights.layout.dtype, wide=True, values_only=values_only)
    caches = []
    for i, layer in enumerate(weights.layers):
        x, cache = block.apply({"params": layer}, x, pattern, past(i))
        caches.append(cache)
    return x, tuple(caches)


def _embed_condition(weights: Weights, config: EditARConfig, condition: Condition) -> jax.Array:
    """Embed text features or classes as tokens f32[M,T,D]."""
    if config.prefix == "class":
        return weights.condition[condition.reshape(-1, 1)].astype(jnp.float32)
    features = condition.reshape(-1, *condition.shape[2:])
    text = TextMLP(config.width, weights.embed.dtype)
    return text.apply({"params": weights.condition}, features).astype(jnp.float32)


def _own_bias(
    weights: Weights, past: Past, position: Int32[Array, " P"], window: int
) -> Float32[Array, "M {window} 1 S"]:
    """Return what is added to the scores of each row's own slots; -inf = not seen."""
    M = len(past.text_score)
    slot = jnp.arange(weights.layout.length(past.caches[0].keys))[None, None]  # [1,1,S]
    last = position[:, None] + 1 + jnp.arange(window)[None]  # [P,W]
    last = jnp.repeat(last, M // len(last), axis=0)[:, :, None]
    bias = jnp.where(slot <= last, 0.0, -jnp.inf)
    return jnp.where(slot == 0, past.text_score[:, None, None], bias)[:, :, None]


def _predict(weights: Weights, config: EditARConfig, x: jax.Array) -> jax.Array:
    """Return logits f32[M,V] of hidden states f32[M,D]."""
    x = rms_norm(x[:, None], weights.norm, config.norm_eps)
    return product(x[:, 0], weights.head)
