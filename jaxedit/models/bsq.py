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
from jaxedit.models.autoencoder import Decoder, Encoder, require_multiple, sizes_of


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
        self.encoder = Encoder(sizes_of(self.config), self.precision, self.remat)
        self.decoder = Decoder(sizes_of(self.config), self.dtype, self.remat)

    def encode(self, pixels: jax.Array) -> jax.Array:
        """Raw features of pixels f32[B,H,W,3] in [-1,1]: f32[B,h,w,d], h = H/stride.

        Raises:
          ValueError: height or width is no multiple of the stride.
        """
        require_multiple(*pixels.shape[1:3], self.config.stride)
        return self.encoder(pixels)

    def decode(self, z: jax.Array) -> jax.Array:
        """Pixels f32[B,H,W,3] of the sum of codes f32[B,h,w,d]; not clamped to [-1,1]."""
        return self.decoder(z)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Decode the raw, unquantised features: touches every parameter, for `init`."""
        return self.decode(self.encode(pixels))
