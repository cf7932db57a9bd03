"""LPIPS: the distance of two images as a trained VGG16 or SqueezeNet 1.1 sees it.

Source: Zhang et al. 2018, section 3; version 0.1 of its release.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Float32

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # of VGG16: channels, convolutions
# The layers of SqueezeNet 1.1 after the first convolution, by their numbers in torchvision: the
# channels of a fire module's first convolution, or 0 for a pooling.
LAYERS = {2: 0, 3: 16, 4: 16, 5: 0, 6: 32, 7: 32, 8: 0, 9: 48, 10: 48, 11: 64, 12: 64}
TAPS = (4, 7, 9, 10, 11, 12)  # the layers whose features are compared, besides the first
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


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions side by side."""

    channels: int  # of the first convolution; the others have four times as many each

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float32[Array, "B H W 8*{self.channels}"]:
        """Transform features of an image."""
        x = nn.relu(nn.Conv(self.channels, (1, 1), name="squeeze")(x))
        wide = [
            nn.Conv(4 * self.channels, (n, n), padding=n // 2, name=f"expand{n}x{n}")(x)
            for n in (1, 3)
        ]
        return nn.relu(jnp.concatenate(wide, axis=-1))


class SqueezeNet(nn.Module):
    """The features of SqueezeNet 1.1 at seven depths."""

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "B H W 3"]) -> list[Float32[Array, "..."]]:
        """Return the features of normalised images of at least 17 x 17 pixels."""
        x = nn.relu(nn.Conv(64, (3, 3), 2, padding="VALID", name="conv")(x))
        features = [x]
        for number, channels in LAYERS.items():
            if channels:
                x = Fire(channels, name=f"fire_{number}")(x)
            else:
                # A last window that is not whole is kept (PyTorch's ceil_mode).
                pad = [(0, (n - 3) % 2) for n in x.shape[1:3]]
                x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=pad)
            if number in TAPS:
                features.append(x)
        return features


BACKBONES = {"vgg": VGG16, "squeeze": SqueezeNet}
# Added to the squared length of a feature vector: the losses of tokenizers keep it near 0;
# benchmarks use torchmetrics, whose value is larger.
EPS = {"vgg": 1e-20, "squeeze": 1e-8}


class LPIPS(nn.Module):
    """Weighted distance of unit feature vectors, averaged over positions, summed over stages."""

    backbone: Literal["vgg", "squeeze"] = "vgg"

    @nn.compact
    def __call__(
        self, a: Float[ArrayLike, "B H W 3"], b: Float[ArrayLike, "B H W 3"]
    ) -> Float32[Array, " B"]:
        """Return the distances of images in [-1,1]."""
        pixels = jnp.concatenate([a, b])
        pixels = (pixels - _SHIFT[None, None, None, :]) / _SCALE[None, None, None, :]
        distance = jnp.zeros(a.shape[0], jnp.float32)
        backbone = BACKBONES[self.backbone](name=self.backbone)
        for i, features in enumerate(backbone(pixels)):
            squared = jnp.sum(features**2, axis=-1, keepdims=True)
            first, second = jnp.split(features / jnp.sqrt(squared + EPS[self.backbone]), 2)
            weight = self.param(f"weight_{i}", nn.initializers.zeros, first.shape[-1:])
            distance += jnp.einsum("bhwc,c->b", (first - second) ** 2, weight) / (
                first.shape[1] * first.shape[2]
            )
        return distance
