"""Binary spherical quantisation, and the residual pyramid of bits that the transformer predicts.

A latent vector r of d channels becomes the signs of r, or the unit vector (+-1/sqrt(d), ...).
Scale k codes the residual that the coarser scales leave, averaged to its grid; its codes are
interpolated back and added to the running feature `cum`. Grids are in latent positions; a token of
Q bits is one position (Q = d) or, patchified, a 2x2 block of positions (Q = 4d).

Source: Han et al. 2024 (Infinity), sections 3.2 and 3.4; Zhao et al. 2024 (BSQ), section 4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.config import Scales
from jaxedit.ops import pyramid


class Labels(NamedTuple):
    """What teacher forcing needs of one batch of images.

    bits: bool[B,Lt,Q], the bits of all scales in order; True = positive.
    inputs: f32[B,Lt-1,Q], the tokens fed to the transformer at scales 2 to K (scale 1 is text).
    """

    bits: jax.Array
    inputs: jax.Array


def normalize(r: jax.Array) -> jax.Array:
    """Scale vectors [...,d] to unit length; a zero vector stays zero."""
    square = jnp.sum(r * r, axis=-1, keepdims=True)
    return r / jnp.sqrt(jnp.maximum(square, 1e-24))


def bits_of(r: jax.Array) -> jax.Array:
    """Signs of r [...,d] as bool[...,d]; zero is False."""
    return r > 0


def codes_of(bits: jax.Array, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Unit vectors +-1/sqrt(d) of bool[...,d], where d is the tokenizer's number of bits."""
    s = bits.shape[-1] ** -0.5
    return jnp.where(bits, s, -s).astype(dtype)


def quantize_ste(r: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Codes and bits of r f32[...,d]; the gradient of the codes is that of `normalize`.

    Returns:
      codes f32[...,d], bits bool[...,d].
    """
    unit = normalize(r)
    bits = bits_of(unit)
    return unit + jax.lax.stop_gradient(codes_of(bits) - unit), bits


def patchify(x: jax.Array) -> jax.Array:
    """2x2 positions of [B,2h,2w,C] as channels c*4 + 2i + j of [B,h,w,4C]."""
    B, H, W, C = x.shape
    x = x.reshape(B, H // 2, 2, W // 2, 2, C).transpose(0, 1, 3, 5, 2, 4)  # [B,h,w,C,2,2]
    return x.reshape(B, H // 2, W // 2, 4 * C)


def unpatchify(x: jax.Array) -> jax.Array:
    """The inverse of `patchify`: [B,h,w,4C] to [B,2h,2w,C]."""
    B, h, w, C = x.shape
    x = x.reshape(B, h, w, C // 4, 2, 2).transpose(0, 1, 4, 2, 5, 3)  # [B,h,2,w,2,C]
    return x.reshape(B, 2 * h, 2 * w, C // 4)


def to_tokens(grid: jax.Array, is_patchified: bool) -> jax.Array:
    """A latent grid [B,h,w,d] as a sequence of tokens [B,n,Q], row by row."""
    if is_patchified:
        grid = patchify(grid)
    B, h, w, Q = grid.shape
    return grid.reshape(B, h * w, Q)


def to_grid(sequence: jax.Array, size: tuple[int, int], is_patchified: bool) -> jax.Array:
    """The inverse of `to_tokens` for a latent grid of `size` = (h, w)."""
    h, w = size
    B, _, Q = sequence.shape
    if is_patchified:
        return unpatchify(sequence.reshape(B, h // 2, w // 2, Q))
    return sequence.reshape(B, h, w, Q)


def next_input(cum: jax.Array, size: tuple[int, int], patchify: bool) -> jax.Array:
    """The transformer's input at the scale with latent grid `size`: tokens f32[B,n,Q].

    Args:
      cum: f32[B,H,W,d], the sum of all coarser scales.
      size: (h, w) of the scale, in latent positions.
      patchify: whether 2x2 positions are one token.
    """
    return to_tokens(pyramid.linear_resize(cum, size), patchify)


def accumulate(
    cum: jax.Array, bits: jax.Array, size: tuple[int, int], full: tuple[int, int], patchify: bool
) -> jax.Array:
    """Add one scale to the running feature.

    Args:
      cum: f32[B,H,W,d], the sum of all coarser scales.
      bits: bool[B,n,Q], the scale's tokens.
      size: (h, w) of the scale, in latent positions.
      full: (H, W), the finest grid.
      patchify: whether 2x2 positions are one token.

    Returns:
      f32[B,H,W,d].
    """
    return cum + pyramid.linear_resize(codes_of(to_grid(bits, size, patchify)), full)


def encode_scales(
    raw: jax.Array, latent_scales: Scales, flip: Sequence[jax.Array | None] | None = None
) -> tuple[list[jax.Array], list[jax.Array]]:
    """Bits of every scale, each of the residual that the coarser ones leave.

    Args:
      raw: f32[B,H,W,d], the encoder's output.
      latent_scales: grids in latent positions; the last is (H, W).
      flip: per scale bool[B,h_k,w_k,d], bits to invert once they are recorded, or None.

    Returns:
      per scale bool[B,h_k,w_k,d], and the sum of scales 1 to k f32[B,H,W,d].

    Raises:
      ValueError: the last scale is not the grid of `raw`.
    """
    (H, W), (h, w) = raw.shape[1:3], latent_scales[-1]
    if (H, W) != (h, w):
        raise ValueError(f"the schedule ends at {h}x{w}, expected {H}x{W} as the features")
    raw = raw.astype(jnp.float32)
    cum = jnp.zeros_like(raw)
    bits, features = [], []
    for k, size in enumerate(latent_scales):
        grid = bits_of(pyramid.area_resize(raw - cum, size))
        bits.append(grid)
        if flip is not None and flip[k] is not None:
            grid = grid ^ flip[k]
        cum = cum + pyramid.linear_resize(codes_of(grid), latent_scales[-1])
        features.append(cum)
    return bits, features


def encode_labels(
    raw: jax.Array,
    latent_scales: Scales,
    *,
    patchify: bool,
    flip: Sequence[jax.Array | None] | None = None,
) -> Labels:
    """Bits of every scale, and the inputs of the next one, as tokens.

    With `flip`, bits are inverted after they were recorded, so that the labels of finer scales
    correct errors that the transformer sees (bitwise self-correction).

    Args:
      raw: f32[B,H,W,d], the encoder's output.
      latent_scales: grids in latent positions; the last is (H, W).
      patchify: whether 2x2 positions are one token.
      flip: per scale bool[B,h_k,w_k,d], True = invert, or None.
    """
    bits, features = encode_scales(raw, latent_scales, flip)
    bits = jnp.concatenate([to_tokens(grid, patchify) for grid in bits], axis=1)  # [B,Lt,Q]
    inputs = [jnp.zeros((raw.shape[0], 0, bits.shape[-1]), jnp.float32)]
    for cum, size in zip(features[:-1], latent_scales[1:], strict=True):
        inputs.append(next_input(cum, size, patchify))
    return Labels(bits, jnp.concatenate(inputs, axis=1))


def draw_flips(
    key: jax.Array,
    batch: int,
    bits: int,
    latent_scales: Scales,
    *,
    strength: float,
    noise_scales: int,
) -> list[jax.Array | None]:
    """Which bits to invert: one rate in {0, .01, ..., strength} per scale for the whole batch.

    Args:
      key: key[].
      batch: B.
      bits: d, bits per latent position.
      latent_scales: grids in latent positions.
      strength: highest rate.
      noise_scales: scales from this one on are not disturbed.

    Returns:
      Per scale bool[B,h_k,w_k,d], or None.
    """
    flips: list[jax.Array | None] = []
    for k, (h, w) in enumerate(latent_scales):
        if k >= noise_scales or strength == 0:
            flips.append(None)
            continue
        rate_key, bits_key = jax.random.split(jax.random.fold_in(key, k))
        rate = jax.random.randint(rate_key, (), 0, round(100 * strength) + 1) * 0.01
        flips.append(jax.random.bernoulli(bits_key, rate, (batch, h, w, bits)))
    return flips


def source_tokens(raw: jax.Array, *, patchify: bool) -> jax.Array:
    """The source image's raw features f32[B,H,W,d] as tokens f32[B,Ls,Q]: not quantised."""
    return to_tokens(raw, patchify)


def full_source_tokens(raw: jax.Array, latent_scales: Scales, *, patchify: bool) -> jax.Array:
    """The source image at every scale: the k-th running feature on the k-th grid.

    Returns:
      f32[B,sum n_k,Q].
    """
    _, features = encode_scales(raw, latent_scales)
    sequences = [next_input(f, s, patchify) for f, s in zip(features, latent_scales, strict=True)]
    return jnp.concatenate(sequences, axis=1)


def bits_to_feature(
    bits: Sequence[jax.Array], latent_scales: Scales, *, patchify: bool
) -> jax.Array:
    """The feature f32[B,H,W,d] that the decoder takes, from the bits of every scale.

    Args:
      bits: per scale bool[B,n_k,Q].
      latent_scales: grids in latent positions; the last is (H, W).
      patchify: whether 2x2 positions are one token.
    """
    H, W = latent_scales[-1]
    B, _, Q = bits[0].shape
    cum = jnp.zeros((B, H, W, Q // 4 if patchify else Q), jnp.float32)
    for sequence, size in zip(bits, latent_scales, strict=True):
        cum = accumulate(cum, sequence, size, (H, W), patchify)
    return cum
