"""After decoding: where was edited, tokens locked elsewhere, and the source's detail put back.

Everything here needs only the three maps and the tokens that decoding leaves behind, so other
thresholds need no second decoding.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import ERecConfig


class Maps(NamedTuple):
    """What every token tells about its place, f32[B,g,g] each.

    js: bits in [0,1], between the distributions of reconstruction and editing path.
    nll_rec, nll_edit: nats, of the source's token on either path; +inf if it cannot occur.
    """

    js: Any
    nll_rec: Any
    nll_edit: Any


class Thresholds(NamedTuple):
    """Numbers that may change without compiling again, f32[] each; as in ERecConfig."""

    tau_js: Any
    tau_low: Any
    tau_high: Any
    tau_replace: Any


def split(config: ERecConfig) -> tuple[Thresholds, ERecConfig]:
    """The numbers of `config`, and the rest of it: what compiled programs depend on."""
    numbers = {name: jnp.float32(getattr(config, name)) for name in Thresholds._fields}
    defaults = ERecConfig()
    rest = {name: getattr(defaults, name) for name in (*Thresholds._fields, "recon_prompt")}
    return Thresholds(**numbers), dataclasses.replace(config, **rest)


def edit_mask(maps: Maps, thresholds: Thresholds, config: ERecConfig) -> jax.Array:
    """Tokens that were edited: the paths disagree nearby, and neither NLL speaks for background.

    With `direct_replacement` it is the tokens that decoding did not replace.

    Args:
      maps: f32[B,g,g] each.
      thresholds: numbers; those of `config` are not read.
      config: which stages there are.

    Returns:
      bool[B,g,g], True = edited.

    Source: ERec, equations 5, 7, 8; algorithm 3, steps 1 and 2.
    """
    if config.direct_replacement:
        return maps.js >= thresholds.tau_replace
    k = config.dilation
    js = jax.lax.reduce_window(maps.js, -jnp.inf, jax.lax.max, (1, k, k), (1, 1, 1), "SAME")
    mask = js >= thresholds.tau_js
    if config.use_nll_low:
        mask &= maps.nll_edit > thresholds.tau_low
    if config.use_nll_high:
        mask &= maps.nll_rec < thresholds.tau_high
    return mask


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
