"""Binary spherical quantisation, and the residual pyramid of bits that the transformer predicts.

A latent vector r of d channels is quantised to its d signs, the bits. The code of these bits is the
unit vector (+-1/sqrt(d), ..., +-1/sqrt(d)). Scale k quantises the residual that the coarser scales
leave, averaged to the grid of scale k; its codes are interpolated back to the finest grid and added
to the running feature `cum`.

Grids have latent positions. A token of Q bits is one position (Q = d) or, with `patchify`, a block
of 2x2 positions (Q = 4d). Axis letters: d latent channels, Lt tokens of all target scales.

Source: Han et al. 2024 (Infinity), sections 3.2 and 3.4; Zhao et al. 2024 (BSQ), section 4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Key, Shaped

from jaxedit.config import Scales
from jaxedit.ops import pyramid


class ScaleLabels(NamedTuple):
    """Labels and inputs of the transformer for a batch of images (teacher forcing).

    Attributes:
      bits: the bits of all scales, coarse to fine; True = positive.
      inputs: the tokens fed to the transformer at scales 2 to K; the input of scale 1 is the text.
    """

    bits: Bool[Array, "B Lt Q"]
    inputs: Float[Array, "B Lt-1 Q"]


def normalize(r: Float[ArrayLike, "*n d"]) -> Float[Array, "*n d"]:
    """Scale vectors to unit length; a zero vector stays zero."""
    square = jnp.sum(r * r, axis=-1, keepdims=True)
    return r / jnp.sqrt(jnp.maximum(square, 1e-24))


def bits_of(r: Float[ArrayLike, "*n d"]) -> Bool[ArrayLike, "*n d"]:
    """Return the signs of `r`, True = positive; the sign of zero is False."""
    return r > 0


def codes_of(bits: Bool[ArrayLike, "*n d"]) -> Float32[Array, "*n d"]:
    """Return the unit vectors +-1/sqrt(d) of bits; d must be all bits of a latent position."""
    s = bits.shape[-1] ** -0.5
    return jnp.where(bits, s, -s).astype(jnp.float32)


def quantize_ste(r: Float[ArrayLike, "*n d"]) -> tuple[Float[Array, "*n d"], Bool[Array, "*n d"]]:
    """Return codes and bits of latents, with a straight-through gradient.

    The codes' gradient with respect to `r` is the gradient of `normalize`.
    """
    unit = normalize(r)
    bits = bits_of(unit)
    return unit + jax.lax.stop_gradient(codes_of(bits) - unit), bits


def patchify(x: Shaped[ArrayLike, "B H W C"]) -> Shaped[ArrayLike, "B H//2 W//2 4*C"]:
    """Move 2x2 positions (i, j) of channel c to channel 4c + 2i + j."""
    B, H, W, C = x.shape
    x = x.reshape(B, H // 2, 2, W // 2, 2, C).transpose(0, 1, 3, 5, 2, 4)  # [B,h,w,C,2,2]
    return x.reshape(B, H // 2, W // 2, 4 * C)


def unpatchify(x: Shaped[ArrayLike, "B h w C"]) -> Shaped[ArrayLike, "B 2*h 2*w C//4"]:
    """Invert `patchify`."""
    B, h, w, C = x.shape
    x = x.reshape(B, h, w, C // 4, 2, 2).transpose(0, 1, 4, 2, 5, 3)  # [B,h,2,w,2,C]
    return x.reshape(B, 2 * h, 2 * w, C // 4)


def to_tokens(
    grid: Shaped[ArrayLike, "B h w d"], is_patchified: bool
) -> Shaped[ArrayLike, "B n Q"]:
    """Return a latent grid as a sequence of tokens, row by row."""
    if is_patchified:
        grid = patchify(grid)
    B, h, w, Q = grid.shape
    return grid.reshape(B, h * w, Q)


def to_grid(
    sequence: Shaped[ArrayLike, "B n Q"], size: tuple[int, int], is_patchified: bool
) -> Shaped[ArrayLike, "B h w d"]:
    """Invert `to_tokens` for a latent grid of `size` = (h, w)."""
    h, w = size
    B, _, Q = sequence.shape
    if is_patchified:
        return unpatchify(sequence.reshape(B, h // 2, w // 2, Q))
    return sequence.reshape(B, h, w, Q)


def next_input(
    cum: Float[ArrayLike, "B H W d"], size: tuple[int, int], patchify: bool
) -> Float[Array, "B n Q"]:
    """Return the transformer's input tokens for the scale whose latent grid has `size`.

    Args:
      cum: sum of all coarser scales, on the finest grid.
      size: (h, w) of the scale, in latent positions.
      patchify: whether 2x2 positions are one token.
    """
    return to_tokens(pyramid.linear_resize(cum, size), patchify)


def accumulate(
    cum: Float[ArrayLike, "B H W d"],
    bits: Bool[ArrayLike, "B n Q"],
    size: tuple[int, int],
    full: tuple[int, int],
    patchify: bool,
) -> Float[Array, "B H W d"]:
    """Add the codes of a scale to the running feature.

    Args:
      cum: sum of all coarser scales.
      size: (h, w) of the scale, in latent positions.
      full: (H, W), the finest grid.
      patchify: whether 2x2 positions are one token.
    """
    return cum + pyramid.linear_resize(codes_of(to_grid(bits, size, patchify)), full)


def residual_bits(
    raw: Float[ArrayLike, "B H W d"],
    cum: Float[ArrayLike, "B H W d"],
    size: tuple[int, int],
    patchify: bool,
) -> Bool[ArrayLike, "B n Q"]:
    """Return a scale's bits of the residual that the running feature `cum` leaves of `raw`.

    Args:
      size: (h, w) of the scale, in latent positions.
      patchify: whether 2x2 positions are one token.
    """
    return to_tokens(bits_of(pyramid.area_resize(raw - cum, size)), patchify)


def encode_scales(
    raw: Float[ArrayLike, "B H W d"],
    latent_scales: Scales,
    flip: Sequence[Bool[ArrayLike, "B _ _ d"] | None] | None = None,
) -> tuple[list[Bool[Array, "B _ _ d"]], list[Float32[Array, "B H W d"]]]:
    """Quantise features scale by scale, each scale the residual that the coarser scales leave.

    Args:
      latent_scales: (h, w) of each scale in latent positions; the last is (H, W).
      flip: per scale, the bits to invert after they are recorded, or None.

    Returns:
      The bits of each scale on its own grid; and for each scale k the sum of scales 1 to k.

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
        # The label is recorded above; only what finer scales see is corrupted.
        if flip is not None and flip[k] is not None:
            grid = grid ^ flip[k]
        cum = cum + pyramid.linear_resize(codes_of(grid), latent_scales[-1])
        features.append(cum)
    return bits, features


def encode_labels(
    raw: Float[ArrayLike, "B H W d"],
    latent_scales: Scales,
    *,
    patchify: bool,
    flip: Sequence[Bool[ArrayLike, "B _ _ d"] | None] | None = None,
) -> ScaleLabels:
    """Return the bits of every scale, and the inputs of scales 2 to K, as tokens.

    With `flip`, bits are inverted after they are recorded, so that finer scales learn to correct
    the errors that the transformer sees (bitwise self-correction).

    Args:
      latent_scales: (h, w) of each scale in latent positions; the last is (H, W).
      patchify: whether 2x2 positions are one token.
      flip: per scale, the bits to invert, or None.
    """
    bits, features = encode_scales(raw, latent_scales, flip)
    bits = jnp.concatenate([to_tokens(grid, patchify) for grid in bits], axis=1)  # [B,Lt,Q]
    inputs = [jnp.zeros((raw.shape[0], 0, bits.shape[-1]), jnp.float32)]
    for cum, size in zip(features[:-1], latent_scales[1:], strict=True):
        inputs.append(next_input(cum, size, patchify))
    return ScaleLabels(bits, jnp.concatenate(inputs, axis=1))


def draw_flips(
    key: Key[Array, ""],
    batch: int,
    bits: int,
    latent_scales: Scales,
    *,
    strength: float,
    noise_scales: int,
) -> list[Bool[Array, "B _ _ d"] | None]:
    """Draw the bits to invert, at a rate in {0, .01, ..., strength} drawn per scale and batch.

    Args:
      bits: d, bits per latent position.
      latent_scales: (h, w) of each scale in latent positions.
      strength: highest rate.
      noise_scales: number of scales to corrupt, from the coarsest.

    Returns:
      For each scale the bits to invert, or None for a scale without noise.
    """
    flips: list[Bool[Array, "B h w d"] | None] = []
    for k, (h, w) in enumerate(latent_scales):
        if k >= noise_scales or strength == 0:
            flips.append(None)
            continue
        rate_key, bits_key = jax.random.split(jax.random.fold_in(key, k))
        rate = jax.random.randint(rate_key, (), 0, round(100 * strength) + 1) * 0.01
        flips.append(jax.random.bernoulli(bits_key, rate, (batch, h, w, bits)))
    return flips


def source_tokens(
    raw: Float[ArrayLike, "B H W d"], *, patchify: bool
) -> Float[ArrayLike, "B Ls Q"]:
    """Return the source image's features, which are not quantised, as tokens."""
    return to_tokens(raw, patchify)


def full_source_tokens(
    raw: Float[ArrayLike, "B H W d"], latent_scales: Scales, *, patchify: bool
) -> Float[Array, "B Ls Q"]:
    """Return the source image's running feature after each scale, on the grid of that scale."""
    _, features = encode_scales(raw, latent_scales)
    sequences = [next_input(f, s, patchify) for f, s in zip(features, latent_scales, strict=True)]
    return jnp.concatenate(sequences, axis=1)


def bits_to_feature(
    bits: Sequence[Bool[ArrayLike, "B _ Q"]], latent_scales: Scales, *, patchify: bool
) -> Float32[Array, "B H W d"]:
    """Sum the codes of all scales to the feature that the decoder takes.

    Args:
      latent_scales: (h, w) of each scale in latent positions; the last is (H, W).
      patchify: whether 2x2 positions are one token.
    """
    H, W = latent_scales[-1]
    B, _, Q = bits[0].shape
    cum = jnp.zeros((B, H, W, Q // 4 if patchify else Q), jnp.float32)
    for sequence, size in zip(bits, latent_scales, strict=True):
        cum = accumulate(cum, sequence, size, (H, W), patchify)
    return cum
