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
    NextToken,
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
from jaxedit.sampling.methods import SamplingMethod

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


class State(NamedTuple):
    """The state of decoding between two tokens.

    Attributes:
      caches: per layer, of M rows; slot 0 stands for the text, slot p+1 is the token at position p.
      text_score: ln of the number of text tokens that are seen.
      logits: logits of the token at `position`.
      position: number of tokens that are decoded.
    """

    caches: tuple[KeysValues, ...]
    text_score: Float32[Array, " M"]
    logits: Float32[Array, "B R V"]
    position: Int32[Array, ""]


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
) -> State:
    """Read the text of every row, after the images; return the state at position 0.

    Args:
      weights: of the transformer.
      config: sizes.
      prefix: of B images, or empty.
      condition: features of the text encoder, or classes.
      mask: tokens that others see; None: all.
      slots: length of the caches: the number of tokens to decode, and one more.
    """
    B, R = condition.shape[:2]
    x = _embed_condition(weights, config, condition)  # [M,T,D]
    seen = jnp.ones(x.shape[:2], bool) if mask is None else mask.reshape(x.shape[:2])
    pattern = TextPrefix(seen, weights.layout, slots=slots, heads=config.heads, rows=R)
    x, caches = _run_layers(
        weights, config, x, pattern, lambda i: prefix.spans(i, R), values_only=True
    )
    return State(
        caches,
        jnp.log(jnp.sum(seen.astype(jnp.float32), axis=1)),
        _predict(weights, config, x[:, -1]).reshape(B, R, -1),
        jnp.zeros((), jnp.int32),
    )


def grow(weights: Weights, state: State, slots: int) -> State:
    """Return the state with caches of `slots` slots."""
    longer = functools.partial(weights.layout.grow, length=slots)
    return state._replace(caches=jax.tree.map(longer, state.caches))


def decode(
    weights: Weights,
    config: EditARConfig,
    prefix: Prefix,
    state: State,
    method: SamplingMethod,
    *,
    steps: int,
) -> tuple[State, Int32[Array, "B R {steps}"], Any]:
    """Decode the next tokens of every row in one loop on the device.

    A row depends on the rows of its own image alone.

    Args:
      weights: of the transformer.
      config: sizes.
      prefix: as for `start`.
      state: with more than position + steps slots.
      method: chooses each row's token from the logits of all rows of its image.
      steps: number of tokens (static).

    Returns:
      The new state, the tokens, and the method's records, stacked along a first axis of `steps`.

    Raises:
      ValueError: the caches are too short for so many steps.
    """
    slots = weights.layout.length(state.caches[0].keys)
    if slots <= steps:
        raise ValueError(f"{slots} slots: expected at least {steps + 1} for {steps} steps")
    first = config.prefix_tokens
    table = jnp.asarray(rope.sequence_table(config)[:, first:])  # [2,N,E/2], of the target

    def step(state: State, _: None) -> tuple[State, tuple[jax.Array, Any]]:
        tokens, record = method(state.logits, state.position)
        return _extend(weights, config, prefix, state, tokens, table), (tokens, record)

    state, (tokens, records) = jax.lax.scan(step, state, length=steps)
    return state, tokens.transpose(1, 2, 0), records


def _extend(
    weights: Weights,
    config: EditARConfig,
    prefix: Prefix,
    state: State,
    tokens: jax.Array,
    table: jax.Array,
) -> State:
    """Run tokens i32[B,R] at `state.position` through all layers."""
    B, R = tokens.shape
    table = jax.lax.dynamic_slice_in_dim(table, state.position, 1, axis=1)  # [2,1,E/2]
    pattern = NextToken(
        query_key_table(table, config),
        bias=_own_bias(weights, state),
        slot=state.position + 1,
        layout=weights.layout,
        rows=R,
    )
    x = weights.embed[tokens.reshape(1, B * R)].astype(jnp.float32)  # [1,M,D]
    x, caches = _run_layers(
        weights, config, x, pattern, lambda i: RowCache(state.caches[i], prefix.spans(i, R))
    )
    logits = _predict(weights, config, x[0]).reshape(B, R, -1)
    return State(caches, state.text_score, logits, state.position + 1)


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


def _own_bias(weights: Weights, state: State) -> jax.Array:
    """Return f32[M,1,1,S], which is added to the scores of each row's own slots."""
    slot = jnp.arange(weights.layout.length(state.caches[0].keys))[None]  # [1,S]
    bias = jnp.where(slot <= state.position + 1, 0.0, -jnp.inf)
    return jnp.where(slot == 0, state.text_score[:, None], bias)[:, None, None]


def _predict(weights: Weights, config: EditARConfig, x: jax.Array) -> jax.Array:
    """Return logits f32[M,V] of hidden states f32[M,D]."""
    x = rms_norm(x[:, None], weights.norm, config.norm_eps)
    return product(x[:, 0], weights.head)
