"""The convolutional autoencoder of both image tokenizers: levels of residual blocks.

Source: Esser et al. 2021 (VQGAN), section 3.1, as in the released code of LlamaGen and Infinity.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Float32

from jaxedit.config import BSQConfig, VQConfig
from jaxedit.nn.conv import AttentionBlock, ResBlock, Upsample, conv, downsample, group_norm


class Sizes(NamedTuple):
    """Sizes of an autoencoder; level 0 is the finest.

    Attributes:
      base_channels: channels of the encoder's first convolution.
      widths: channels of each level.
      res_blocks: blocks in each level of the encoder; the decoder's levels have one more.
      halvings: number of levels, from the finest on, after which height and width are halved.
      channels: channels of the features between encoder and decoder.
      has_attention: whether attention follows each block of the coarsest level, and the first of
        the two middle blocks.
      numbers_from_coarsest: whether the decoder's parameters number the levels from the coarsest.
    """

    base_channels: int
    widths: tuple[int, ...]
    res_blocks: int
    halvings: int
    channels: int
    has_attention: bool
    numbers_from_coarsest: bool


def sizes_of(config: BSQConfig | VQConfig) -> Sizes:
    """Return the sizes of a tokenizer's autoencoder."""
    is_vq = isinstance(config, VQConfig)
    return Sizes(
        config.base_channels,
        tuple(config.base_channels * multiple for multiple in config.channel_mult),
        config.res_blocks,
        halvings=config.stride.bit_length() - 1,
        channels=config.latent_width if is_vq else config.bits,
        has_attention=is_vq,
        numbers_from_coarsest=is_vq,
    )


class Encoder(nn.Module):
    """From pixels to features: always float32, because they decide bits and codes."""

    sizes: Sizes
    precision: Any = jax.lax.Precision.HIGHEST
    remat: bool = False

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "B H W 3"]) -> Float32[Array, "B h w C"]:
        """Encode pixels in [-1,1]."""
        sizes, options = self.sizes, {"dtype": jnp.float32, "precision": self.precision}
        block = nn.remat(ResBlock) if self.remat else ResBlock
        x = conv(sizes.base_channels, name="conv_in", **options)(x)
        for i, width in enumerate(sizes.widths):
            attends = sizes.has_attention and i == len(sizes.widths) - 1
            for j in range(sizes.res_blocks):
                x = block(width, name=f"down_{i}_block_{j}", **options)(x)
                if attends:
                    x = AttentionBlock(name=f"down_{i}_attn_{j}", **options)(x)
            if i < sizes.halvings:
                x = downsample(width, name=f"down_{i}_downsample", **options)(x)
        x = block(width, name="mid_block_1", **options)(x)
        if sizes.has_attention:
            x = AttentionBlock(name="mid_attn", **options)(x)
        x = block(width, name="mid_block_2", **options)(x)
        x = nn.silu(group_norm(width, name="norm_out")(x))
        return conv(sizes.channels, name="conv_out", **options)(x)


class Decoder(nn.Module):
    """From features to pixels: the levels from the coarsest to the finest."""

    sizes: Sizes
    dtype: Any = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(self, z: Float[ArrayLike, "B h w C"]) -> Float32[Array, "B H W 3"]:
        """Decode features; pixels are not clamped to [-1,1]."""
        sizes, dtype = self.sizes, self.dtype
        block = nn.remat(ResBlock) if self.remat else ResBlock
        coarsest = len(sizes.widths) - 1
        width = sizes.widths[coarsest]
        x = conv(width, name="conv_in", dtype=dtype)(z)
        x = block(width, dtype, name="mid_block_1")(x)
        if sizes.has_attention:
            x = AttentionBlock(dtype, name="mid_attn")(x)
        x = block(width, dtype, name="mid_block_2")(x)
        for i in reversed(range(coarsest + 1)):
            width = sizes.widths[i]
            level = coarsest - i if sizes.numbers_from_coarsest else i
            for j in range(sizes.res_blocks + 1):
                x = block(width, dtype, name=f"up_{level}_block_{j}")(x)
                if sizes.has_attention and i == coarsest:
                    x = AttentionBlock(dtype, name=f"up_{level}_attn_{j}")(x)
            if 1 <= i <= sizes.halvings:
                x = Upsample(dtype, name=f"up_{level}_upsample")(x)
        x = nn.silu(group_norm(width, name="norm_out", dtype=dtype)(x))
        return conv(3, name="conv_out", dtype=dtype)(x).astype(jnp.float32)


def require_multiple(height: int, width: int, stride: int) -> None:
    """Raise ValueError unless a picture of this size is a grid of `stride` pixels."""
    if height % stride or width % stride:
        raise ValueError(f"image {height}x{width}: expected multiples of {stride} pixels")
