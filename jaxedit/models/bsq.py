"""The image tokenizer of Infinity and VAREdit: a convolutional autoencoder around BSQ.

The encoder's output is quantised by `ops.quantize`, which needs no parameters; the decoder takes
the sum of all scales' codes. Axis letter: d latent channels.

Source: Han et al. 2024 (Infinity), section 3.2, and the released code.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Float32

from jaxedit.config import BSQConfig
from jaxedit.models.autoencoder import Decoder, Encoder, require_multiple, sizes_of


class BSQTokenizer(nn.Module):
    """Encoder and decoder under one parameter tree.

    Attributes:
      config: sizes.
      dtype: compute dtype of the decoder.
      precision: precision of the encoder's convolutions; HIGHEST wherever bits are labels.
      remat: recompute each block's activations in the backward pass.
    """

    config: BSQConfig
    dtype: Any = jnp.float32
    precision: Any = jax.lax.Precision.HIGHEST
    remat: bool = False

    def setup(self) -> None:
        """Declare encoder and decoder."""
        self.encoder = Encoder(sizes_of(self.config), self.precision, self.remat)
        self.decoder = Decoder(sizes_of(self.config), self.dtype, self.remat)

    def encode(self, pixels: Float[ArrayLike, "B H W 3"]) -> Float32[Array, "B h w d"]:
        """Encode pixels in [-1,1] as features, which are not quantised yet; h = H / stride.

        Raises:
          ValueError: height or width is no multiple of the stride.
        """
        require_multiple(*pixels.shape[1:3], self.config.stride)
        return self.encoder(pixels)

    def decode(self, z: Float[ArrayLike, "B h w d"]) -> Float32[Array, "B H W 3"]:
        """Decode the sum of codes to pixels, which are not clamped to [-1,1]."""
        return self.decoder(z)

    def __call__(self, pixels: Float[ArrayLike, "B H W 3"]) -> Float32[Array, "B H W 3"]:
        """Decode features that are not quantised: `init` then finds every parameter."""
        return self.decode(self.encode(pixels))
