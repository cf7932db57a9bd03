"""The image tokenizer of LlamaGen and EditAR: a convolutional autoencoder around a codebook.

Source: Esser et al. 2021 (VQGAN), section 3.1; Sun et al. 2024 (LlamaGen), section 2.1, and the
released code.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxedit.config import VQConfig
from jaxedit.nn.conv import AttentionBlock, ResBlock, Upsample, conv, downsample, group_norm
from jaxedit.ops import codebook as ops


class Encoder(nn.Module):
    """Pixels to features: always float32, because they decide codes."""

    config: VQConfig
    precision: Any = jax.lax.Precision.HIGHEST
    remat: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """f32[B,H,W,3] in [-1,1] to f32[B,h,w,latent_width]; attention at the last level only."""
        cfg, options = self.config, {"dtype": jnp.float32, "precision": self.precision}
        block = nn.remat(ResBlock) if self.remat else ResBlock
        x = conv(cfg.base_channels, name="conv_in", **options)(x)
        last = len(cfg.channel_mult) - 1
        for i, mult in enumerate(cfg.channel_mult):
            features = cfg.base_channels * mult
            for j in range(cfg.res_blocks):
                x = block(features, name=f"down_{i}_block_{j}", **options)(x)
                if i == last:
                    x = AttentionBlock(name=f"down_{i}_attn_{j}", **options)(x)
            if i < last:
                x = downsample(features, name=f"down_{i}_downsample", **options)(x)
        x = block(features, name="mid_block_1", **options)(x)
        x = AttentionBlock(name="mid_attn", **options)(x)
        x = block(features, name="mid_block_2", **options)(x)
        x = nn.silu(group_norm(features, name="norm_out")(x))
        return conv(cfg.latent_width, name="conv_out", **options)(x)


class Decoder(nn.Module):
    """Features to pixels, not clamped. Level 0 is the coarsest and runs first."""

    config: VQConfig
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """f32[B,h,w,latent_width] to f32[B,H,W,3]; attention at level 0 only."""
        cfg, dtype = self.config, self.dtype
        block = nn.remat(ResBlock) if self.remat else ResBlock
        features = cfg.base_channels * cfg.channel_mult[-1]
        x = conv(features, name="conv_in", dtype=dtype)(z)
        x = block(features, dtype, name="mid_block_1")(x)
        x = AttentionBlock(dtype, name="mid_attn")(x)
        x = block(features, dtype, name="mid_block_2")(x)
        for i, mult in enumerate(reversed(cfg.channel_mult)):
            features = cfg.base_channels * mult
            for j in range(cfg.res_blocks + 1):
                x = block(features, dtype, name=f"up_{i}_block_{j}")(x)
                if i == 0:
                    x = AttentionBlock(dtype, name=f"up_{i}_attn_{j}")(x)
            if i < len(cfg.channel_mult) - 1:
                x = Upsample(dtype, name=f"up_{i}_upsample")(x)
        x = nn.silu(group_norm(features, name="norm_out", dtype=dtype)(x))
        return conv(3, name="conv_out", dtype=dtype)(x).astype(jnp.float32)


class VQTokenizer(nn.Module):
    """Encoder, codebook and decoder under one parameter tree.

    Attributes:
      config: sizes.
      dtype: compute dtype of the decoder.
      precision: of the encoder's convolutions; HIGHEST wherever codes must be exact.
      remat: recompute each block's activations in the backward pass.
    """

    config: VQConfig
    dtype: Any = jnp.float32
    precision: Any = jax.lax.Precision.HIGHEST
    remat: bool = False

    def setup(self) -> None:
        """Name the two halves, the projections to and from the codes, and the codes."""
        cfg = self.config
        self.encoder = Encoder(cfg, self.precision, self.remat)
        self.decoder = Decoder(cfg, self.dtype, self.remat)
        self.quant_conv = conv(
            cfg.code_width, 1, name=None, dtype=jnp.float32, precision=self.precision
        )
        self.post_quant_conv = conv(cfg.latent_width, 1, name=None, dtype=self.dtype)
        self.codebook = self.param("codebook", self._init_codes, (cfg.codes, cfg.code_width))

    def encode(self, pixels: jax.Array) -> jax.Array:
        """Latents before quantisation of pixels f32[B,H,W,3] in [-1,1]: f32[B,h,w,c].

        Raises:
          ValueError: height or width is no multiple of the stride.
        """
        _, H, W, _ = pixels.shape
        if H % self.config.stride or W % self.config.stride:
            raise ValueError(f"image {H}x{W}: expected multiples of {self.config.stride} pixels")
        return self.quant_conv(self.encoder(pixels))

    def codes(self, pixels: jax.Array) -> jax.Array:
        """Codes i32[B,h,w] of pixels f32[B,H,W,3] in [-1,1], h = H/stride."""
        return ops.nearest_code(self.encode(pixels), self.codebook, self.config.unit_norm)

    def decode(self, codes: jax.Array) -> jax.Array:
        """Pixels f32[B,H,W,3] of codes i32[B,h,w]; not clamped to [-1,1]."""
        return self.decode_latent(ops.look_up(self.codebook, codes, self.config.unit_norm))

    def decode_latent(self, z: jax.Array) -> jax.Array:
        """Pixels f32[B,H,W,3] of code vectors f32[B,h,w,c]; not clamped to [-1,1]."""
        return self.decoder(self.post_quant_conv(z))

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Decode the codes of pixels: touches every parameter, for `init`."""
        return self.decode(self.codes(pixels))

    def _init_codes(self, key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        codes = jax.random.uniform(key, shape, minval=-1 / shape[0], maxval=1 / shape[0])
        return ops.as_compared(codes, self.config.unit_norm)
