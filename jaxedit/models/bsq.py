"""The image tokenizer of Infinity and VAREdit: a convolutional autoencoder around BSQ.

The encoder's raw output is quantised by `ops.quantize`, which needs no parameters; the decoder
takes the sum of all scales' codes.

Source: Han et al. 2024 (Infinity), section 3.2, and the released code.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxedit.config import BSQConfig
from jaxedit.nn.conv import ResBlock, Upsample, conv, downsample, group_norm


class Encoder(nn.Module):
    """Pixels to raw features: always float32, because the signs of its output are labels."""

    config: BSQConfig
    precision: Any = jax.lax.Precision.HIGHEST
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """f32[B,H,W,3] in [-1,1] to f32[B,h,w,d]."""
        cfg, options = self.config, {"dtype": jnp.float32, "precision": self.precision}
        block = nn.remat(ResBlock) if self.remat else ResBlock
        x = conv(cfg.base_channels, name="conv_in", **options)(x)
        for i, mult in enumerate(cfg.channel_mult):
            features = cfg.base_channels * mult
            for j in range(cfg.res_blocks):
                x = block(features, name=f"down_{i}_block_{j}", **options)(x)
            if i < cfg.halvings:
                x = downsample(features, name=f"down_{i}_downsample", **options)(x)
        for j in (1, 2):
            x = block(features, name=f"mid_block_{j}", **options)(x)
        x = nn.silu(group_norm(features, name="norm_out")(x))
        return conv(cfg.bits, name="conv_out", **options)(x)


class Decoder(nn.Module):
    """Quantised features to pixels, not clamped. Level 0 is the finest and runs last."""

    config: BSQConfig
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """f32[B,h,w,d] to f32[B,H,W,3]."""
        cfg, dtype = self.config, self.dtype
        block = nn.remat(ResBlock) if self.remat else ResBlock
        features = cfg.base_channels * cfg.channel_mult[-1]
        x = conv(features, name="conv_in", dtype=dtype)(z)
        for j in (1, 2):
            x = block(features, dtype, name=f"mid_block_{j}")(x)
        for i, mult in reversed(list(enumerate(cfg.channel_mult))):
            features = cfg.base_channels * mult
            for j in range(cfg.res_blocks + 1):
                x = block(features, dtype, name=f"up_{i}_block_{j}")(x)
            if 1 <= i <= cfg.halvings:
                x = Upsample(dtype, name=f"up_{i}_upsample")(x)
        x = nn.silu(group_norm(features, name="norm_out", dtype=dtype)(x))
        return conv(3, name="conv_out", dtype=dtype)(x).astype(jnp.float32)


class BSQTokenizer(nn.Module):
    """Encoder and decoder under one parameter tree.

    Attributes:
      config: sizes.
      dtype: compute dtype of the decoder.
      precision: of the encoder's convolutions; HIGHEST wherever bits are labels.
      remat: recompute each block's activations in the backward pass.
    """

    config: BSQConfig
    dtype: Any = jnp.float32
    precision: Any = jax.lax.Precision.HIGHEST
    remat: bool = False

    def setup(self) -> None:
        """Name the two halves."""
        self.encoder = Encoder(self.config, self.precision, self.remat)
        self.decoder = Decoder(self.config, self.dtype, self.remat)

    def encode(self, pixels: jax.Array) -> jax.Array:
        """Raw features of pixels f32[B,H,W,3] in [-1,1]: f32[B,h,w,d], h = H/stride.

        Raises:
          ValueError: height or width is no multiple of the stride.
        """
        _, H, W, _ = pixels.shape
        if H % self.config.stride or W % self.config.stride:
            raise ValueError(f"image {H}x{W}: expected multiples of {self.config.stride} pixels")
        return self.encoder(pixels)

    def decode(self, z: jax.Array) -> jax.Array:
        """Pixels f32[B,H,W,3] of the sum of codes f32[B,h,w,d]; not clamped to [-1,1]."""
        return self.decoder(z)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Decode the raw, unquantised features: touches every parameter, for `init`."""
        return self.decode(self.encode(pixels))
