"""The PatchGAN discriminator with which image tokenizers are trained.

Source: Isola et al. 2017, section 3.2.2.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Float32

_kernel_init = nn.initializers.normal(0.02)


def _scale_init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


class BatchNorm(nn.Module):
    """Batch normalisation by the statistics of the current batch; no averages are kept."""

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float32[Array, "B H W C"]:
        """Normalise over B, H and W."""
        scale = self.param("scale", _scale_init, x.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
        mean = x.mean((0, 1, 2), keepdims=True)
        variance = ((x - mean) ** 2).mean((0, 1, 2), keepdims=True)
        x = (x - mean) * jax.lax.rsqrt(variance + 1e-5)
        return x * scale[None, None, None, :] + bias[None, None, None, :]


class Discriminator(nn.Module):
    """From an image to scores of overlapping patches: high if real, low if reconstructed."""

    channels: int = 128

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "B H W 3"]) -> Float32[Array, "B (H//8)-2 (W//8)-2 1"]:
        """Score images in [-1,1].

        Raises:
          ValueError: the images are smaller than a patch.
        """
        _, H, W, _ = x.shape
        if min(H, W) < 24:
            raise ValueError(f"picture {H}x{W}: expected at least 24x24 for a patch discriminator")
        strides = (2, 2, 2, 1)
        for i, stride in enumerate(strides):
            x = self._conv(self.channels * 2**i, stride, use_bias=i == 0, name=f"conv_{i}")(x)
            if i > 0:
                x = BatchNorm(name=f"norm_{i}")(x)
            x = nn.leaky_relu(x, 0.2)
        return self._conv(1, 1, name=f"conv_{len(strides)}")(x)

    def _conv(self, features: int, stride: int, *, name: str, use_bias: bool = True) -> nn.Conv:
        return nn.Conv(
            features,
            (4, 4),
            strides=stride,
            padding=((1, 1), (1, 1)),
            use_bias=use_bias,
            kernel_init=_kernel_init,
            name=name,
        )
