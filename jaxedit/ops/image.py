"""Pixels: uint8 at the edges, float32 in [-1,1] inside."""

import jax
import jax.numpy as jnp


def to_float(pixels: jax.Array) -> jax.Array:
    """u8[...] in 0..255 to f32[...] in [-1,1]."""
    unit = pixels.astype(jnp.float32) / 255
    return unit + unit - 1


def to_uint8(pixels: jax.Array) -> jax.Array:
    """Float [...] to u8[...]: clamped to [-1,1], scaled to 0..255 and truncated, not rounded."""
    unit = (jnp.clip(pixels.astype(jnp.float32), -1, 1) + 1) / 2
    return (unit * 255).astype(jnp.uint8)


def to_nearest_uint8(pixels: jax.Array) -> jax.Array:
    """Float [...] to u8[...]: clamped and rounded, so that it undoes `to_float`."""
    unit = (jnp.clip(pixels.astype(jnp.float32), -1, 1) + 1) / 2
    return jnp.round(unit * 255).astype(jnp.uint8)
