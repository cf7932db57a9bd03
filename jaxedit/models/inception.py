"""Inception v3 as FID uses it: image features of width 2048.

The network of TensorFlow's release of 2015: its average poolings do not count padding, and its last
block has a maximum pooling. Modules have the names of the PyTorch port.

Source: Szegedy et al. 2016 (Inception v3); Heusel et al. 2017 (FID).
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Float32, Key

from jaxedit.tree import Tree

NORM_EPS = 1e-3  # added to the variance


class Conv(NamedTuple):
    """A convolution, normalisation and ReLU; without padding where it halves the image."""

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    is_padded: bool = True

    @property
    def padding(self) -> str:
        """Return the padding in JAX's words."""
        return "SAME" if self.is_padded and self.stride == 1 else "VALID"


class Pool(NamedTuple):
    """A pooling of 3 x 3 positions; without padding where it halves the image."""

    kind: str  # average or maximum
    stride: int = 1


Branch = tuple[Any, ...]  # Conv, Pool, and tuples of Conv whose outputs lie side by side


def _chain(name: str, *layers: tuple[Any, ...]) -> Branch:
    """Return the convolutions name_1, name_2 ... from their fields without the name."""
    return tuple(Conv(f"{name}_{n}", *fields) for n, fields in enumerate(layers, 1))


def _fork(name: str) -> tuple[Conv, Conv]:
    return Conv(f"{name}a", 384, (1, 3)), Conv(f"{name}b", 384, (3, 1))


def _pooled(kind: str, channels: int) -> Branch:
    return Pool(kind), Conv("branch_pool", channels)


def _block_a(pooled: int) -> tuple[Branch, ...]:
    return (
        (Conv("branch1x1", 64),),
        _chain("branch5x5", (48,), (64, (5, 5))),
        _chain("branch3x3dbl", (64,), (96, (3, 3)), (96, (3, 3))),
        _pooled("average", pooled),
    )


def _block_c(c: int) -> tuple[Branch, ...]:
    row, column = (1, 7), (7, 1)
    return (
        (Conv("branch1x1", 192),),
        _chain("branch7x7", (c,), (c, row), (192, column)),
        _chain("branch7x7dbl", (c,), (c, column), (c, row), (c, column), (192, row)),
        _pooled("average", 192),
    )


def _block_e(pool: str) -> tuple[Branch, ...]:
    return (
        (Conv("branch1x1", 320),),
        (Conv("branch3x3_1", 384), _fork("branch3x3_2")),
        (*_chain("branch3x3dbl", (448,), (384, (3, 3))), _fork("branch3x3dbl_3")),
        _pooled(pool, 192),
    )


# By name; the stem is a block with a single branch.
BLOCKS: dict[str, tuple[Branch, ...]] = {
    "stem": (
        (
            Conv("Conv2d_1a_3x3", 32, (3, 3), 2),
            Conv("Conv2d_2a_3x3", 32, (3, 3), is_padded=False),
            Conv("Conv2d_2b_3x3", 64, (3, 3)),
            Pool("maximum", 2),
            Conv("Conv2d_3b_1x1", 80),
            Conv("Conv2d_4a_3x3", 192, (3, 3), is_padded=False),
            Pool("maximum", 2),
        ),
    ),
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": (
        (Conv("branch3x3", 384, (3, 3), 2),),
        _chain("branch3x3dbl", (64,), (96, (3, 3)), (96, (3, 3), 2)),
        (Pool("maximum", 2),),
    ),
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": (
        _chain("branch3x3", (192,), (320, (3, 3), 2)),
        _chain("branch7x7x3", (192,), (192, (1, 7)), (192, (7, 1)), (192, (3, 3), 2)),
        (Pool("maximum", 2),),
    ),
    "Mixed_7b": _block_e("average"),
    "Mixed_7c": _block_e("maximum"),
}


def conv_names() -> Iterator[tuple[str, str]]:
    """Yield the block and the name of every convolution."""

    def inside(layer: Any) -> Iterator[str]:
        if isinstance(layer, Conv):
            yield layer.name
        elif not isinstance(layer, Pool):
            for part in layer:
                yield from inside(part)

    for block, branches in BLOCKS.items():
        yield from ((block, name) for name in inside(branches))


class ConvNorm(nn.Module):
    """A convolution, a normalisation by fixed statistics, and ReLU."""

    conv: Conv

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float32[Array, "B h w D"]:
        """Transform features of an image."""
        c, ones, zeros = self.conv, nn.initializers.ones, nn.initializers.zeros
        shape = (*c.kernel, x.shape[-1], c.channels)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        mean, bias = (self.param(name, zeros, (c.channels,)) for name in ("mean", "bias"))
        variance, scale = (self.param(name, ones, (c.channels,)) for name in ("variance", "scale"))
        gain = scale / jnp.sqrt(variance + NORM_EPS)
        strides, axes = (c.stride, c.stride), ("NHWC", "HWIO", "NHWC")
        # The gain is a factor of the kernel, so that no pass over the features is needed.
        kernel = kernel * gain[None, None, None, :]
        x = jax.lax.conv_general_dilated(x, kernel, strides, c.padding, dimension_numbers=axes)
        return nn.relu(x + (bias - mean * gain)[None, None, None, :])


class Block(nn.Module):
    """Branches whose outputs lie side by side."""

    branches: tuple[Branch, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float32[Array, "B h w D"]:
        """Transform features of an image."""

        def run(layer: Any, x: jax.Array) -> jax.Array:
            if isinstance(layer, Conv):
                return ConvNorm(layer, name=layer.name)(x)
            if isinstance(layer, Pool):
                return pool(layer, x)
            return jnp.concatenate([run(part, x) for part in layer], axis=-1)

        outputs = [functools.reduce(lambda y, layer: run(layer, y), b, x) for b in self.branches]
        return jnp.concatenate(outputs, axis=-1)


def pool(layer: Pool, x: Float[Array, "B H W C"]) -> Float32[Array, "B h w C"]:
    """Pool features of an image."""
    options = {"strides": (layer.stride,) * 2, "padding": "SAME" if layer.stride == 1 else "VALID"}
    if layer.kind == "maximum":
        return nn.max_pool(x, (3, 3), **options)
    return nn.avg_pool(x, (3, 3), count_include_pad=False, **options)


class Inception(nn.Module):
    """From pixels to the features before the classifier."""

    @nn.compact
    def __call__(self, pixels: Float[ArrayLike, "B H W 3"]) -> Float32[Array, "B 2048"]:
        """Encode images in [-1,1] of at least 75 x 75 pixels; FID's are 299 x 299."""
        x = jnp.asarray(pixels)
        for name, branches in BLOCKS.items():
            x = Block(branches, name=name)(x)
        return jnp.mean(x, axis=(1, 2))


def init_params(key: Key[Array, ""]) -> Tree:
    """Return random parameters, f32."""
    return Inception().init(key, jnp.zeros((1, 75, 75, 3)))["params"]
