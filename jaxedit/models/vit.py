"""The vision transformers of DINO and DINOv2: patches to features.

Source: Caron et al. 2021 (DINO); Oquab et al. 2023 (DINOv2), which scales each layer's outputs by
learnt gains. Positions are a learnt table that is resized to other numbers of patches.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxedit import rng
from jaxedit.config import ViTConfig
from jaxedit.nn.attention import dot_product_attention
from jaxedit.nn.layers import LayerNorm, dense
from jaxedit.ops.resize import cubic_matrix, resample
from jaxedit.sharding.rules import constrain
from jaxedit.tree import Tree

INIT_STD = 0.02


class Attention(nn.Module):
    """Self-attention between all patches."""

    config: ViTConfig
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """f32[B,S,D] to (f32[B,S,D], keys [B,S,D])."""
        c, (B, S, D) = self.config, x.shape
        q, k, v = (dense(D, INIT_STD, self.dtype, name=name)(x) for name in "qkv")
        # [B,A,S,E]
        heads = [y.reshape(B, S, c.heads, -1).transpose(0, 2, 1, 3) for y in (q, k, v)]
        out = dot_product_attention(heads[0] * (D // c.heads) ** -0.5, *heads[1:])
        out = out.transpose(0, 2, 1, 3).reshape(B, S, D)
        out = dense(D, INIT_STD, self.dtype, name="proj")(out).astype(jnp.float32)
        return _gain(self, out), k


class MLP(nn.Module):
    """`down(gelu(up(x)))` with the exact form of GELU."""

    config: ViTConfig
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """f32[B,S,D] to f32[B,S,D]."""
        c = self.config
        hidden = dense(c.mlp_hidden, INIT_STD, self.dtype, name="up")(x)
        hidden = nn.gelu(hidden, approximate=False)
        out = dense(c.width, INIT_STD, self.dtype, name="down")(hidden).astype(jnp.float32)
        return _gain(self, out)


class Block(nn.Module):
    """One layer, in the (carry, output) form of a scan over layers."""

    config: ViTConfig
    dtype: Any

    @nn.compact
    def __call__(self, carry: tuple[jax.Array, jax.Array]) -> tuple[tuple, None]:
        """(f32[B,S,D], keys of the layer before) to the same and None."""
        x, _ = carry
        eps = self.config.norm_eps
        attended, keys = Attention(self.config, self.dtype, name="attn")(
            LayerNorm(eps, name="attn_norm")(x)
        )
        x = x + attended
        mlp = MLP(self.config, self.dtype, name="mlp")
        x = x + mlp(LayerNorm(eps, name="mlp_norm")(x))
        return (constrain(x, "batch", "length", "embed"), keys), None


class ViT(nn.Module):
    """Pixels to the features of a class token and of all patches.

    Attributes:
      config: sizes.
      dtype: of the matrix products; the residual stream is float32.
    """

    config: ViTConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, pixels: jax.Array, *, with_keys: bool = False
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """Encode B pictures.

        Args:
          pixels: f32[B,H,W,3], normalised; sides are multiples of the patch.
          with_keys: also return the last layer's keys.

        Returns:
          f32[B,1+n,D] after the last norm: the class token, then the patches row by row. With
          keys: (that, [B,1+n,D] in `dtype`, heads side by side).
        """
        c = self.config
        patches = nn.Conv(
            *(c.width, (c.patch, c.patch), c.patch, "VALID"),
            dtype=self.dtype,
            kernel_init=nn.initializers.normal(INIT_STD),
            name="patch",
        )(pixels)
        B, h, w, _ = patches.shape
        init = nn.initializers.normal(INIT_STD)
        first = self.param("class_token", init, (1, c.width))
        table = self.param("positions", init, (1 + c.grid**2, c.width))
        first = jnp.broadcast_to(first[None], (B, 1, c.width))
        patches = patches.reshape(B, h * w, c.width).astype(jnp.float32)
        x = jnp.concatenate([first, patches], axis=1) + positions(table, (h, w), c)[None]
        layers = nn.scan(
            Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=c.layers
        )
        x = constrain(x, "batch", "length", "embed")
        no_keys = jnp.zeros(x.shape, self.dtype)
        (x, keys), _ = layers(c, self.dtype, name="blocks")((x, no_keys))
        x = LayerNorm(c.norm_eps, name="norm")(x)
        return (x, keys) if with_keys else x


def positions(table: jax.Array, size: tuple[int, int], config: ViTConfig) -> jax.Array:
    """Positions of a class token and h x w patches, from a square table for other sizes.

    Args:
      table: f32[1+grid*grid, D].
      size: (h, w).
      config: of the transformer.

    Returns:
      f32[1+h*w, D].
    """
    side, offset = config.grid, config.position_offset
    if tuple(size) == (side, side):
        return table
    rows, columns = (cubic_matrix(side, n, side / (n + offset)) for n in size)
    patches = resample(table[1:].reshape(1, side, side, -1), rows, columns)
    return jnp.concatenate([table[:1], patches.reshape(-1, table.shape[1])])


def init_params(config: ViTConfig, key: jax.Array) -> Tree:
    """Random parameters, f32."""
    pixels = jnp.zeros((1, config.patch, config.patch, 3))
    return ViT(config).init(key, pixels)["params"]


def seeded_teacher(width: int, grid: int) -> tuple[ViTConfig, Tree]:
    """A small teacher with seeded random weights, for runs without DINOv2's: it knows nothing.

    Args:
      width: of its features.
      grid: patches per side that it is shown.

    Returns:
      (its sizes, numpy parameters).
    """
    config = small_teacher(width, grid)
    params = jax.jit(lambda: init_params(config, rng.key_for(0, "teacher")))()
    return config, jax.tree.map(np.asarray, params)


def small_teacher(width: int, grid: int) -> ViTConfig:
    """Sizes of the teacher that `seeded_teacher` makes."""
    return ViTConfig(
        layers=2, width=width, heads=4, mlp_hidden=2 * width, patch=7, grid=grid, layer_scale=False
    )


def _gain(module: Attention | MLP, x: jax.Array) -> jax.Array:
    """`x` f32[B,S,D] times DINOv2's learnt gain per channel; DINO has none."""
    if not module.config.layer_scale:
        return x
    return x * module.param("scale", nn.initializers.ones, (x.shape[-1],))[None, None]
