"""LPIPS: the distance of two images as a trained VGG16 sees it.

Source: Zhang et al. 2018, section 3.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Float32

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions
# Mean and deviation of ImageNet's colours, for pixels in [-1,1].
_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)
_SCALE = np.array([0.458, 0.448, 0.450], np.float32)


class VGG16(nn.Module):
    """The features of VGG16 before each pooling and after the last convolution."""

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "B H W 3"]) -> list[Float32[Array, "..."]]:
        """Return the features of normalised images; stage i has H / 2^i x W / 2^i positions."""
        features = []
        for i, (channels, depth) in enumerate(STAGES):
            if i:
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
            for j in range(depth):
                pad = ((1, 1), (1, 1))
                x = nn.relu(nn.Conv(channels, (3, 3), padding=pad, name=f"conv_{i}_{j}")(x))
            features.append(x)
        return features


class LPIPS(nn.Module):
    """Weighted distance of unit feature vectors, averaged over positions, summed over stages."""

    @nn.compact
    def __call__(
        self, a: Float[ArrayLike, "B H W 3"], b: Float[ArrayLike, "B H W 3"]
    ) -> Float32[Array, " B"]:
        """Return the distances of images in [-1,1]."""
        pixels = jnp.concatenate([a, b])
        pixels = (pixels - _SHIFT[None, None, None, :]) / _SCALE[None, None, None, :]
        distance = jnp.zeros(a.shape[0], jnp.float32)
        for i, features in enumerate(VGG16(name="vgg")(pixels)):
            length = jnp.sqrt(jnp.sum(features**2, axis=-1, keepdims=True) + 1e-20)
            first, second = jnp.split(features / length, 2)
            weight = self.param(f"weight_{i}", nn.initializers.zeros, first.shape[-1:])
            distance += jnp.einsum("bhwc,c->b", (first - second) ** 2, weight) / (
                first.shape[1] * first.shape[2]
            )
        return distance
