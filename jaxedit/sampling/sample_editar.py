"""EditAR and LlamaGen from pixels to pixels, in the pieces that run on the device.

networks = prepare(config, params, dtype)                 # once
codes, prefix = read_source(networks, pixels, ...)        # once per picture
state = begin(networks.weights, prefix, text, mask, ...)  # once per instruction
tokens, _ = generate(networks.weights, prefix, state, method, ...)
pixels = draw(networks.vq, tokens, ...)
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import EditARConfig, PretrainedConfig, TokenSampleConfig
from jaxedit.models.editar import left_pad
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import image
from jaxedit.sampling import next_token
from jaxedit.sampling.decode_weights import Weights, unstack
from jaxedit.sampling.methods import SamplingMethod, TokenSampling, numbers_of
from jaxedit.sampling.next_token import Prefix, State
from jaxedit.tree import Tree, cast


class Networks(NamedTuple):
    """Parameters as sampling reads them: vq f32 and the transformer's `Weights`."""

    vq: Any
    weights: Weights


class EncodedSource(NamedTuple):
    """A picture that has been read: codes i32[B,N] and its prefix."""

    codes: jax.Array | None
    prefix: Prefix


NO_SOURCE = EncodedSource(None, Prefix())  # of models that read none


def text_rows(sample: TokenSampleConfig) -> tuple[int | None, ...]:
    """Return the instruction that each row of a picture reads: 0 is the picture's own, None none.

    As in the release, a guidance of 1 or less is none at all: there is no unguided row.
    """
    if sample.guidance_mode == "dual":
        return (0, None, None)
    return (0,) if sample.guidance <= 1 else (0, None)


def prepare(config: PretrainedConfig, params: Tree, dtype: Any, *, int8: bool = False) -> Networks:
    """Networks from {"vq", "transformer", "null"}; once, outside `jit`.

    Args:
      config: of model_type editar.
      params: as loaded or trained.
      dtype: of the transformer; the image tokenizer stays float32.
      int8: the matrices of its layers become `Int8`.
    """
    null = params.get("null", {})
    return Networks(
        vq=jax.tree.map(jnp.asarray, cast(params["vq"], "float32")),
        weights=unstack(config.editar, params["transformer"], null, dtype, int8=int8),
    )


@functools.partial(jax.jit, static_argnames="config")
def read_source(
    networks: Networks, pixels: jax.Array, *, config: PretrainedConfig
) -> EncodedSource:
    """Codes and prefix of B pictures u8[B,S,S,3]."""
    tokenizer = VQTokenizer(config.vq)
    floats = image.to_float(pixels)
    codes = tokenizer.apply({"params": networks.vq}, floats, method="codes")
    codes = codes.reshape(len(pixels), -1)
    return EncodedSource(codes, next_token.prefill_image(networks.weights, config.editar, codes))


@functools.partial(jax.jit, static_argnames=("config", "rows"))
def drop_image(weights: Weights, prefix: Prefix, *, rows: int, config: EditARConfig) -> Prefix:
    """The prefix with the null image for the last `rows` rows of each picture (joint, dual)."""
    null = next_token.prefill_null(weights, config)
    return dataclasses.replace(prefix, null=null, null_rows=rows)


@functools.partial(jax.jit, static_argnames=("config", "rows", "slots"))
def begin(
    weights: Weights,
    prefix: Prefix,
    text: jax.Array,
    mask: jax.Array,
    *,
    rows: tuple[int | None, ...],
    slots: int,
    config: EditARConfig,
) -> State:
    """Read the instructions, or the classes, of B pictures.

    Args:
      weights: of the transformer.
      prefix: of the source pictures; empty for models that read none.
      text: f32[B,P,T,Ct], features of P instructions per picture, see `encode_text`; or i32[B,P],
        P classes per picture.
      mask: bool[B,P,T], True at tokens; not read for classes.
      rows: per row of a picture the instruction that it reads, or None for no text (static).
      slots: of the caches, one more than the tokens before the first `grow` (static).
      config: the model.
    """
    if config.prefix == "class":
        none = jnp.full(len(text), config.classes, jnp.int32)
        classes = jnp.stack([none if r is None else text[:, r] for r in rows], axis=1)  # [B,R]
        return next_token.start(weights, config, prefix, classes, slots=slots)
    B, P, T, _ = text.shape
    seen = None
    if config.prefix == "text":  # padding is on the left, unseen, also where the text is dropped
        text, mask = left_pad(text.reshape(B * P, T, -1), mask.reshape(B * P, T))
        text, mask = text.reshape(B, P, T, -1), mask.reshape(B, P, T)
        seen = jnp.stack([mask[:, r or 0] for r in rows], axis=1)
    null = jnp.broadcast_to(weights.null.text[None], text[:, 0].shape)
    text = jnp.stack([null if r is None else text[:, r] for r in rows], axis=1)  # [B,R,T,Ct]
    return next_token.start(weights, config, prefix, text, seen, slots=slots)


_grow = jax.jit(next_token.grow, static_argnames="slots")
_decode = jax.jit(next_token.decode, static_argnames=("config", "steps"), donate_argnames="state")


def generate(
    weights: Weights,
    prefix: Prefix,
    state: State,
    method: SamplingMethod,
    *,
    config: EditARConfig,
    segment: int,
    tokens: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[jax.Array, Any]:
    """Decode all tokens of a picture; caches grow with what has been decoded.

    Args:
      weights: of the transformer.
      prefix: as for `begin`.
      state: from `begin`, with `segment` + 1 slots; its memory is reused.
      method: chooses tokens.
      config: sizes.
      segment: tokens between two calls of `progress`, each a compiled program of its own.
      tokens: how many; None is N, all.
      progress: called with (tokens done, tokens in all).

    Returns:
      Tokens i32[B,R,N] and the method's records, [N,...].
    """
    N = config.image_tokens if tokens is None else tokens
    pieces = []
    for first in range(0, N, segment):
        steps = min(segment, N - first)
        if first:
            state = _grow(weights, state, slots=first + steps + 1)
        state, *piece = _decode(weights, config, prefix, state, method, steps=steps)
        pieces.append(piece)
        if progress:
            jax.block_until_ready(piece)
            progress(first + steps, N)
    chosen, records = zip(*pieces, strict=True)
    return jnp.concatenate(chosen, axis=2), jax.tree.map(lambda *r: jnp.concatenate(r), *records)


def segment_of(config: EditARConfig) -> int:
    """Tokens per compiled program, between which caches grow and progress is told."""
    return max(64, config.image_tokens // 4)


def edit(
    networks: Networks,
    source: EncodedSource,
    text: jax.Array,
    mask: jax.Array,
    seeds: jax.Array,
    *,
    sample: TokenSampleConfig,
    config: PretrainedConfig,
    segment: int,
    progress: Callable[[int, int], None] | None = None,
) -> jax.Array:
    """Edit B pictures, or draw them from text or class.

    Args:
      networks: see `prepare`.
      source: B pictures, or `NO_SOURCE`.
      text: f32[B,1,T,Ct], features of each picture's instruction, or i32[B,1]; see `begin`.
      mask: bool[B,1,T], True at tokens; not read for classes.
      seeds: i32[B].
      sample: how tokens are drawn.
      config: the model.
      segment: tokens between two calls of `progress`.
      progress: called with (tokens done, tokens in all).

    Returns:
      i32[B,N], tokens of the edit.
    """
    rows, prefix = text_rows(sample), source.prefix
    weights, c = networks.weights, config.editar
    if sample.guidance_mode != "text" and len(rows) > 1:
        prefix = drop_image(weights, prefix, rows=1, config=c)
    state = begin(weights, prefix, text, mask, rows=rows, slots=segment + 1, config=c)
    tokens, _ = generate(
        *(weights, prefix, state, TokenSampling(seeds, numbers_of(sample), sample.greedy)),
        config=c,
        segment=segment,
        progress=progress,
    )
    return tokens[:, 0]


@functools.partial(jax.jit, static_argnames="config")
def draw(vq: Tree, tokens: jax.Array, *, config: PretrainedConfig) -> jax.Array:
    """Pictures u8[B,S,S,3] of tokens i32[B,N]."""
    g = config.editar.grid
    codes = tokens.reshape(-1, g, g)
    pixels = VQTokenizer(config.vq).apply({"params": vq}, codes, method="decode")
    return image.to_uint8(pixels)
