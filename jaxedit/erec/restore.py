"""Restoration of the background: source tokens and source details outside the edit mask."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int, Shaped, UInt8

from jaxedit.config import ERecConfig, PretrainedConfig
from jaxedit.erec.dual_path import Paths
from jaxedit.erec.edit_mask import Thresholds, edit_mask, limit
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import image
from jaxedit.tree import Tree


class Refined(NamedTuple):
    """The refined edit: its pixels, its tokens, and the edit mask (True = edited)."""

    pixels: UInt8[Array, "B S S 3"]
    tokens: Int[Array, "B N"]
    mask: Bool[Array, "B g g"]


@functools.partial(jax.jit, static_argnames=("erec", "config"))
def refine(
    vq: Tree,
    pixels: UInt8[Array, "B S S 3"],
    codes: Int[Array, "B N"],
    paths: Paths,
    thresholds: Thresholds,
    *,
    erec: ERecConfig,
    config: PretrainedConfig,
    decoded: Float[Array, "B S S 3"] | None = None,
    editable: Bool[Array, "B N"] | None = None,
) -> Refined:
    """Restore the source outside the edit mask: its tokens, and the detail that the tokenizer lost.

    Args:
      vq: parameters of the image tokenizer.
      pixels: the source images.
      codes: tokens of the source images.
      paths: from `dual_path.decode`.
      thresholds: first result of `edit_mask.split`.
      erec: second result of `edit_mask.split`; without `refine` the edit stays as decoded.
      config: the model.
      decoded: the source images decoded from `codes`, if already known.
      editable: as for `dual_path.decode`; limits the edit mask as `erec.mask_mode` says.

    Source: ERec, algorithm 3.
    """
    draw = functools.partial(draw_tokens, vq, config=config)
    mask = edit_mask(paths.maps, thresholds, erec)
    if editable is not None:
        mask = limit(mask, editable.reshape(mask.shape), erec.mask_mode)
    if not erec.refine:
        return Refined(image.to_uint8(draw(paths.edit)), paths.edit, mask)
    locked = lock(paths.edit, codes, mask.reshape(codes.shape))
    decoded = draw(codes) if decoded is None else decoded
    large = upsample_mask(mask, pixels.shape[1], erec.upsampling)
    result = composite(image.to_float(pixels), draw(locked), decoded, large, erec)
    return Refined(image.to_nearest_uint8(result), locked, mask)


@functools.partial(jax.jit, static_argnames="config")
def draw_tokens(
    vq: Tree, tokens: Int[Array, "B N"], *, config: PretrainedConfig
) -> Float[Array, "B S S 3"]:
    """Decode tokens to images, which are not clamped to [-1,1]."""
    g = config.editar.grid
    codes = tokens.reshape(-1, g, g)
    return VQTokenizer(config.vq).apply({"params": vq}, codes, method="decode")


def lock(
    edit: Int[ArrayLike, "*n"], source: Int[ArrayLike, "*n"], mask: Bool[ArrayLike, "*n"]
) -> Int[Array, "*n"]:
    """Return the edit's tokens where `mask` is True, and the source's tokens elsewhere.

    Source: ERec, equation 9.
    """
    return jnp.where(mask, edit, source)


def upsample_mask(
    mask: Shaped[ArrayLike, "B g g"], size: int, method: str
) -> Float32[Array, "B {size} {size}"]:
    """Resize a mask of tokens to a mask of pixels in [0,1].

    Args:
      mask: True = edited.
      size: S, a multiple of g.
      method: "nearest" or "bilinear" (pixel centres, edges repeated).
    """
    shape = (mask.shape[0], size, size)
    return jax.image.resize(mask.astype(jnp.float32), shape, method, antialias=False)


def composite(
    pixels: Float[ArrayLike, "B S S 3"],
    decoded_edit: Float[ArrayLike, "B S S 3"],
    decoded_source: Float[ArrayLike, "B S S 3"],
    mask: Float[ArrayLike, "B S S"],
    config: ERecConfig,
) -> Float[Array, "B S S 3"]:
    """Add the tokenizer's residual of the source to the decoded edit, outside the mask.

    Args:
      pixels: the source images in [-1,1].
      decoded_edit: images decoded from the locked tokens.
      decoded_source: images decoded from the source's tokens.
      mask: in [0,1], 1 = edited.
      config: whether to align, clip and paste.

    Returns:
      Images in [-1,1].

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
