"""The image tokenizer of LlamaGen and EditAR: a convolutional autoencoder around a codebook.

Source: Esser et al. 2021 (VQGAN), section 3.1; Sun et al. 2024 (LlamaGen), section 2.1, and the
released code.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Float32, Int, Int32

from jaxedit.config import VQConfig
from jaxedit.models.autoencoder import Decoder, Encoder, require_multiple, sizes_of
from jaxedit.nn.conv import conv
from jaxedit.ops import codebook as ops


class VQTokenizer(nn.Module):
    """Encoder, codebook and decoder under one parameter tree.

    Attributes:
      config: sizes.
      dtype: compute dtype of the decoder.
      precision: precision of the encoder's convolutions; HIGHEST wherever codes must be exact.
      remat: recompute each block's activations in the backward pass.
    """

    config: VQConfig
    dtype: Any = jnp.float32
    precision: Any = jax.lax.Precision.HIGHEST
    remat: bool = False

    def setup(self) -> None:
        """Declare encoder and decoder, the maps between features and codes, and the codes."""
        cfg = self.config
        self.encoder = Encoder(sizes_of(cfg), self.precision, self.remat)
        self.decoder = Decoder(sizes_of(cfg), self.dtype, self.remat)
        self.quant_conv = conv(
            cfg.code_width, 1, name=None, dtype=jnp.float32, precision=self.precision
        )
        self.post_quant_conv = conv(cfg.latent_width, 1, name=None, dtype=self.dtype)
        self.codebook = self.param("codebook", self._init_codes, (cfg.codes, cfg.code_width))

    def encode(self, pixels: Float[ArrayLike, "B H W 3"]) -> Float32[Array, "B h w c"]:
        """Encode pixels in [-1,1] as latents, which are not quantised yet; h = H / stride.

        Raises:
          ValueError: height or width is no multiple of the stride.
        """
        require_multiple(*pixels.shape[1:3], self.config.stride)
        return self.quant_conv(self.encoder(pixels))

    def codes(self, pixels: Float[ArrayLike, "B H W 3"]) -> Int32[Array, "B h w"]:
        """Encode pixels in [-1,1] as codes."""
        return ops.nearest_code(self.encode(pixels), self.codebook, self.config.unit_norm)

    def decode(self, codes: Int[ArrayLike, "B h w"]) -> Float32[Array, "B H W 3"]:
        """Decode codes to pixels, which are not clamped to [-1,1]."""
        return self.decode_latent(ops.look_up(self.codebook, codes, self.config.unit_norm))

    def decode_latent(self, z: Float[ArrayLike, "B h w c"]) -> Float32[Array, "B H W 3"]:
        """Decode code vectors to pixels, which are not clamped to [-1,1]."""
        return self.decoder(self.post_quant_conv(z))

    def __call__(self, pixels: Float[ArrayLike, "B H W 3"]) -> Float32[Array, "B H W 3"]:
        """Decode the codes of pixels: `init` then finds every parameter."""
        return self.decode(self.codes(pixels))

    def _init_codes(self, key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        codes = jax.random.uniform(key, shape, minval=-1 / shape[0], maxval=1 / shape[0])
        return ops.maybe_normalize(codes, self.config.unit_norm)
