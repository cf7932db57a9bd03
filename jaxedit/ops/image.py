"""Conversions of pixels: uint8 at the edges of the library, float32 in [-1,1] inside."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Float32, UInt8


def to_float(pixels: UInt8[ArrayLike, "*n"]) -> Float32[ArrayLike, "*n"]:
    """Convert pixels from 0..255 to [-1,1]."""
    unit = pixels.astype(jnp.float32) / 255
    return unit + unit - 1


def to_uint8(pixels: Float[ArrayLike, "*n"]) -> UInt8[Array, "*n"]:
    """Convert pixels from [-1,1] to 0..255: clamp, scale and truncate, as the releases do."""
    unit = (jnp.clip(pixels.astype(jnp.float32), -1, 1) + 1) / 2
    return (unit * 255).astype(jnp.uint8)


def to_nearest_uint8(pixels: Float[ArrayLike, "*n"]) -> UInt8[Array, "*n"]:
    """Convert pixels from [-1,1] to 0..255: clamp, scale and round; the inverse of `to_float`."""
    unit = (jnp.clip(pixels.astype(jnp.float32), -1, 1) + 1) / 2
    return jnp.round(unit * 255).astype(jnp.uint8)
