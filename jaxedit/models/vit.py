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
from jaxedit.models.encoder_block import INIT_STD, run_encoder
from jaxedit.nn.layers import LayerNorm, exact_gelu
from jaxedit.ops.resize import cubic_matrix, resample
from jaxedit.sharding.rules import constrain
from jaxedit.tree import Tree


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
        x = constrain(x, "batch", "length", "embed")
        x, keys = run_encoder(
            x,
            c.layers,
            heads=c.heads,
            mlp_hidden=c.mlp_hidden,
            norm_eps=c.norm_eps,
            activation=exact_gelu,
            dtype=self.dtype,
            has_layer_scale=c.layer_scale,
        )
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
