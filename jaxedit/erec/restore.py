"""The background restored: tokens locked outside the mask, and the source's detail put back."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import ERecConfig, PretrainedConfig
from jaxedit.erec.dual_path import Paths
from jaxedit.erec.edit_mask import Thresholds, edit_mask
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import image
from jaxedit.tree import Tree


class Refined(NamedTuple):
    """pixels: u8[B,S,S,3]; tokens: i32[B,N]; mask: bool[B,g,g], True = edited."""

    pixels: Any
    tokens: Any
    mask: Any


@functools.partial(jax.jit, static_argnames=("erec", "config"))
def refine(
    vq: Tree,
    pixels: jax.Array,
    codes: jax.Array,
    paths: Paths,
    thresholds: Thresholds,
    *,
    erec: ERecConfig,
    config: PretrainedConfig,
    decoded: jax.Array | None = None,
) -> Refined:
    """Keep the source outside the edit: its tokens, and the detail that the tokenizer lost.

    Args:
      vq: parameters of the image tokenizer.
      pixels: u8[B,S,S,3], the sources.
      codes: i32[B,N], their tokens.
      paths: from `decode`.
      thresholds: see `split`, of which this and `erec` are the halves.
      erec: which steps there are; without `refine` the edit stays as decoded.
      config: the model.
      decoded: f32[B,S,S,3], the decoder's pictures of `codes`, if they are at hand.

    Source: ERec, algorithm 3.
    """
    draw = functools.partial(draw_tokens, vq, config=config)
    mask = edit_mask(paths.maps, thresholds, erec)
    if not erec.refine:
        return Refined(image.to_uint8(draw(paths.edit)), paths.edit, mask)
    locked = lock(paths.edit, codes, mask.reshape(codes.shape))
    decoded = draw(codes) if decoded is None else decoded
    large = upsample_mask(mask, pixels.shape[1], erec.upsampling)
    result = composite(image.to_float(pixels), draw(locked), decoded, large, erec)
    return Refined(image.to_nearest_uint8(result), locked, mask)


@functools.partial(jax.jit, static_argnames="config")
def draw_tokens(vq: Tree, tokens: jax.Array, *, config: PretrainedConfig) -> jax.Array:
    """The decoder's pictures f32[B,S,S,3] of tokens i32[B,N], not clamped to [-1,1]."""
    g = config.editar.grid
    codes = tokens.reshape(-1, g, g)
    return VQTokenizer(config.vq).apply({"params": vq}, codes, method="decode")


def lock(edit: jax.Array, source: jax.Array, mask: jax.Array) -> jax.Array:
    """The edit's tokens i32[...] where `mask` bool[...], the source's elsewhere.

    Source: ERec, equation 9.
    """
    return jnp.where(mask, edit, source)


def upsample_mask(mask: jax.Array, size: int, method: str) -> jax.Array:
    """A mask of tokens as a mask of pixels.

    Args:
      mask: bool[B,g,g].
      size: S, a multiple of g.
      method: "nearest" or "bilinear" (pixel centres, edges repeated).

    Returns:
      f32[B,S,S] in [0,1].
    """
    shape = (mask.shape[0], size, size)
    return jax.image.resize(mask.astype(jnp.float32), shape, method, antialias=False)


def composite(
    pixels: jax.Array,
    decoded_edit: jax.Array,
    decoded_source: jax.Array,
    mask: jax.Array,
    config: ERecConfig,
) -> jax.Array:
    """Add what the tokenizer lost of the source to the decoded edit, outside the mask.

    Args:
      pixels: f32[B,S,S,3] in [-1,1], the source.
      decoded_edit: f32[B,S,S,3], the decoder's picture of the locked tokens.
      decoded_source: f32[B,S,S,3], the decoder's picture of the source's tokens.
      mask: f32[B,S,S] in [0,1], 1 = edited.
      config: whether to align, clip and paste.

    Returns:
      f32[B,S,S,3] in [-1,1].

    Source: ERec, equation 10.
    """
    if config.clip_decoded:
        decoded_edit = jnp.clip(decoded_edit, -1, 1)
        decoded_source = jnp.clip(decoded_source, -1, 1)
    outside = (1 - mask)[..., None]  # [B,S,S,1]
    result = decoded_edit
    if config.pixel_align:
        result = result + outside * (pixels - decoded_source)
    if config.hard_paste:
        result = jnp.where(outside == 1, pixels, result)
    return jnp.clip(result, -1, 1)
