"""EditAR and LlamaGen from pixels to pixels, in the pieces that run on the device.

networks = prepare(config, params, dtype)                 # once
codes, prefix = read_source(networks, pixels, ...)        # once per image
state = begin(networks.weights, prefix, text, mask, ...)  # once per instruction
tokens, *_ = generate(networks.weights, prefix, state, method, ...)
pixels = draw(networks.vq, tokens, ...)
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Int32, UInt8

from jaxedit.config import EditARConfig, PretrainedConfig, TokenSampleConfig
from jaxedit.models.editar import left_pad
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import image
from jaxedit.sampling import next_token, token_loop
from jaxedit.sampling.decode_weights import Weights, unstack
from jaxedit.sampling.lock import LockedTokens
from jaxedit.sampling.methods import SamplingMethod, TokenSampling, numbers_of
from jaxedit.sampling.next_token import Prefix
from jaxedit.sampling.token_loop import State, slots_for
from jaxedit.tree import Tree, cast

Text = Float[ArrayLike, "B P T Ct"] | Int[ArrayLike, "B P"]  # features of P texts, or P classes
Mask = Bool[ArrayLike, "B P *T"] | None  # True at tokens; not read for classes
Progress = Callable[[int, int], None]  # called with (tokens done, tokens in total)


class Networks(NamedTuple):
    """Parameters as sampling reads them: of the image tokenizer, f32, and of the transformer."""

    vq: Tree
    weights: Weights


class EncodedSource(NamedTuple):
    """The codes and the prefix of images that have been read."""

    codes: Int32[Array, "B N"] | None
    prefix: Prefix


NO_SOURCE = EncodedSource(None, Prefix())  # for models that read no image


def text_rows(sample: TokenSampleConfig) -> tuple[int | None, ...]:
    """Return the instruction that each row of an image reads: 0, or None for no instruction.

    As in the release, a guidance of 1 or less is no guidance: there is no row without instruction.
    """
    if sample.guidance_mode == "dual":
        return (0, None, None)
    return (0,) if sample.guidance <= 1 else (0, None)


def prepare(config: PretrainedConfig, params: Tree, dtype: Any, *, int8: bool = False) -> Networks:
    """Prepare parameters for sampling; call it once, outside `jit`.

    Args:
      config: the model.
      params: {"vq", "transformer", "null"}, as loaded or trained.
      dtype: dtype of the transformer; the image tokenizer stays float32.
      int8: turn the matrices of the transformer's layers into `Int8`.
    """
    null = params.get("null", {})
    return Networks(
        vq=jax.tree.map(jnp.asarray, cast(params["vq"], "float32")),
        weights=unstack(config.editar, params["transformer"], null, dtype, int8=int8),
    )


@functools.partial(jax.jit, static_argnames="config")
def read_source(
    networks: Networks, pixels: UInt8[ArrayLike, "B S S 3"], *, config: PretrainedConfig
) -> EncodedSource:
    """Read source images."""
    tokenizer = VQTokenizer(config.vq)
    floats = image.to_float(pixels)
    codes = tokenizer.apply({"params": networks.vq}, floats, method="codes")
    codes = codes.reshape(len(pixels), -1)
    return EncodedSource(codes, next_token.prefill_image(networks.weights, config.editar, codes))


@functools.partial(jax.jit, static_argnames=("config", "rows"))
def drop_image(weights: Weights, prefix: Prefix, *, rows: int, config: EditARConfig) -> Prefix:
    """Return the prefix with the null image for the last `rows` rows of each image."""
    null = next_token.prefill_null(weights, config)
    return dataclasses.replace(prefix, null=null, null_rows=rows)


@functools.partial(jax.jit, static_argnames=("config", "rows", "slots"))
def begin(
    weights: Weights,
    prefix: Prefix,
    text: Text,
    mask: Mask,
    *,
    rows: tuple[int | None, ...],
    slots: int,
    config: EditARConfig,
) -> State:
    """Read the instructions, or the classes, of B images.

    Args:
      weights: weights of the transformer.
      prefix: of the source images; empty for models that read no image.
      text: features of P instructions per image, see `encode_text`; or P classes per image.
      mask: True at tokens; not read for classes.
      rows: for each row of an image the instruction that it reads, or None (static).
      slots: length of the caches, for the tokens of the first segment, see `slots_for` (static).
      config: the model.
    """
    if config.prefix == "class":
        none = jnp.full(len(text), config.classes, jnp.int32)
        classes = jnp.stack([none if r is None else text[:, r] for r in rows], axis=1)  # [B,R]
        started = next_token.start(weights, config, prefix, classes, slots=slots)
        return State(*started, jnp.int32(0))
    B, P, T, _ = text.shape
    seen = None
    if config.prefix == "text":  # padding is on the left, unseen, also where the text is dropped
        text, mask = left_pad(text.reshape(B * P, T, -1), mask.reshape(B * P, T))
        text, mask = text.reshape(B, P, T, -1), mask.reshape(B, P, T)
        seen = jnp.stack([mask[:, r or 0] for r in rows], axis=1)
    null = jnp.broadcast_to(weights.null.text[None], text[:, 0].shape)
    text = jnp.stack([null if r is None else text[:, r] for r in rows], axis=1)  # [B,R,T,Ct]
    started = next_token.start(weights, config, prefix, text, seen, slots=slots)
    return State(*started, jnp.int32(0))


_grow = jax.jit(next_token.grow, static_argnames="slots")
_decode = jax.jit(
    token_loop.decode, static_argnames=("config", "steps", "window"), donate_argnames="state"
)


def generate(
    weights: Weights,
    prefix: Prefix,
    state: State,
    method: SamplingMethod,
    guesses: Int32[Array, "B N"] | None = None,
    *,
    config: EditARConfig,
    segment: int,
    window: int = 1,
    tokens: int | None = None,
    progress: Progress | None = None,
) -> tuple[Int32[Array, "B R N"], Any, Int32[Array, ""]]:
    """Decode all tokens of an image; caches grow with the tokens that are decoded.

    Args:
      weights: weights of the transformer.
      prefix: as for `begin`.
      state: from `begin`, with `slots_for(segment, window)` slots; its memory is reused.
      method: chooses tokens.
      guesses: tokens that are likely, for windows; None: nothing is known.
      config: sizes.
      segment: tokens between two calls of `progress`, each a compiled program of its own.
      window: as for `token_loop.decode`.
      tokens: number of tokens; None: all N.
      progress: called after each segment.

    Returns:
      The tokens, the method's records, stacked along axis 1 of N, and the number of turns.
    """
    N = config.image_tokens if tokens is None else tokens
    pieces = []
    for first in range(0, N, segment):
        steps = min(segment, N - first)
        if first:
            slots = slots_for(first + steps, window)
            state = state._replace(past=_grow(weights, state.past, slots=slots))
        state, *piece = _decode(
            weights, config, prefix, state, method, guesses, steps=steps, window=window
        )
        pieces.append(piece)
        if progress:
            jax.block_until_ready(piece)
            progress(first + steps, N)
    chosen, records, turns = zip(*pieces, strict=True)
    records = jax.tree.map(lambda *r: jnp.concatenate(r, axis=1), *records)
    return jnp.concatenate(chosen, axis=2), records, jnp.stack(turns).sum()


def window_of(sample: TokenSampleConfig) -> int:
    """Return the largest number of tokens that are run at once."""
    return sample.window if sample.decode == "windows" else 1


def segment_of(config: EditARConfig) -> int:
    """Return the tokens per compiled program; in between caches grow and progress is reported."""
    return max(64, config.image_tokens // 4)


def edit(
    networks: Networks,
    source: EncodedSource,
    text: Text,
    mask: Mask,
    seeds: Int[ArrayLike, " B"],
    *,
    sample: TokenSampleConfig,
    config: PretrainedConfig,
    segment: int,
    editable: Bool[Array, "B N"] | None = None,
    progress: Progress | None = None,
) -> Int32[Array, "B N"]:
    """Edit B images, or draw them from text or class; return their tokens.

    Args:
      networks: see `prepare`.
      source: the source images, or `NO_SOURCE`.
      text: the instruction or the class of each image, as for `begin` (P = 1).
      mask: as for `begin`.
      seeds: random seed of each image.
      sample: how tokens are drawn.
      config: the model.
      segment: as for `generate`.
      editable: True at tokens that may differ from the source's; None: all.
      progress: as for `generate`.
    """
    rows, prefix = text_rows(sample), source.prefix
    weights, c = networks.weights, config.editar
    if sample.guidance_mode != "text" and len(rows) > 1:
        prefix = drop_image(weights, prefix, rows=1, config=c)
    window = window_of(sample)
    slots = slots_for(segment, window)
    state = begin(weights, prefix, text, mask, rows=rows, slots=slots, config=c)
    method: SamplingMethod = TokenSampling(seeds, numbers_of(sample), sample.greedy)
    if editable is not None:
        method = LockedTokens(method, source.codes, editable)
    options = {"config": c, "segment": segment, "window": window, "progress": progress}
    tokens, *_ = generate(weights, prefix, state, method, source.codes, **options)
    return tokens[:, 0]


@functools.partial(jax.jit, static_argnames="config")
def draw(
    vq: Tree, tokens: Int[ArrayLike, "B N"], *, config: PretrainedConfig
) -> UInt8[Array, "B S S 3"]:
    """Decode tokens to images."""
    g = config.editar.grid
    codes = tokens.reshape(-1, g, g)
    pixels = VQTokenizer(config.vq).apply({"params": vq}, codes, method="decode")
    return image.to_uint8(pixels)
