"""Convolutional blocks of the image tokenizers: images are NHWC, kernels HWIO."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxedit.config import require
from jaxedit.ops import pyramid

# Uniform in +-1/sqrt(fan_in), the initialisation of the released tokenizers.
conv_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def conv(features: int, size: int = 3, *, name: str | None, **options: Any) -> nn.Conv:
    """Return a convolution that keeps height and width; `options` are arguments of `nn.Conv`."""
    pad = size // 2
    options = {"padding": ((pad, pad), (pad, pad)), "kernel_init": conv_init} | options
    return nn.Conv(features, (size, size), name=name, **options)


def downsample(features: int, *, name: str, **options: Any) -> nn.Conv:
    """Return a convolution that halves height and width, padded right and below only."""
    return conv(features, name=name, strides=2, padding=((0, 1), (0, 1)), **options)


def group_norm(channels: int, *, name: str, dtype: Any = jnp.float32) -> nn.GroupNorm:
    """Return a group normalisation with 32 groups, or 24 where 32 do not divide the channels.

    Its statistics are float32 and computed in two passes: the one-pass variance of flax loses
    digits that decide labels.

    Raises:
      ConfigError: neither 32 nor 24 divides `channels`.
    """
    groups = next((g for g in (32, 24) if channels % g == 0), 0)
    require(groups > 0, f"group norm of {channels} channels: expected a multiple of 32 or 24")
    return nn.GroupNorm(groups, epsilon=1e-6, use_fast_variance=False, dtype=dtype, name=name)


class ResBlock(nn.Module):
    """Two convolutions, each after norm and SiLU, beside a skip that is 1x1 where widths differ."""

    features: int
    dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "B H W C"]) -> Float[Array, "B H W {self.features}"]:
        """Transform features of an image."""
        options = {"dtype": self.dtype, "precision": self.precision}
        h = nn.silu(group_norm(x.shape[-1], name="norm1", dtype=self.dtype)(x))
        h = conv(self.features, name="conv1", **options)(h)
        h = nn.silu(group_norm(self.features, name="norm2", dtype=self.dtype)(h))
        h = conv(self.features, name="conv2", **options)(h)
        if x.shape[-1] != self.features:
            x = conv(self.features, 1, name="shortcut", **options)(x)
        return x + h


class AttentionBlock(nn.Module):
    """Attention with a single head between all positions, after a norm and beside a skip."""

    dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Transform features of an image."""
        B, H, W, C = x.shape
        options = {"dtype": self.dtype, "precision": self.precision}
        h = group_norm(C, name="norm", dtype=self.dtype)(x)
        q, k, v = (conv(C, 1, name=name, **options)(h).reshape(B, H * W, C) for name in "qkv")
        scores = jnp.einsum(
            "bqc,bkc->bqk", q, k, precision=self.precision, preferred_element_type=jnp.float32
        )
        weights = jax.nn.softmax(scores * C**-0.5).astype(self.dtype)
        h = jnp.einsum("bqk,bkc->bqc", weights, v, precision=self.precision)
        return x + conv(C, 1, name="proj", **options)(h.reshape(B, H, W, C))


class Upsample(nn.Module):
    """Doubling of height and width by repetition, then a convolution."""

    dtype: Any = jnp.float32
    precision: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B 2*H 2*W C"]:
        """Double features of an image."""
        convolve = conv(x.shape[-1], name="conv", dtype=self.dtype, precision=self.precision)
        return convolve(pyramid.nearest_double(x))
