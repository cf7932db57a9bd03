"""The vision transformers of DINO and DINOv2: patches to features.

Positions are a learnt table, which is resized to other numbers of patches. DINOv2 scales each
layer's outputs by learnt gains.

Source: Caron et al. 2021 (DINO); Oquab et al. 2023 (DINOv2).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Float32, Key

from jaxedit import rng
from jaxedit.config import ViTConfig
from jaxedit.models.encoder_block import INIT_STD, patch_tokens, run_encoder
from jaxedit.nn.layers import LayerNorm, exact_gelu
from jaxedit.ops.resize import cubic_matrix, resample
from jaxedit.sharding.rules import constrain
from jaxedit.tree import Tree


class ViT(nn.Module):
    """From pixels to the features of a class token and of all patches.

    Matrix products have `dtype`; the residual stream is float32.
    """

    config: ViTConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, pixels: Float[ArrayLike, "B H W 3"], *, with_keys: bool = False
    ) -> Float32[Array, "B S D"] | tuple[Float32[Array, "B S D"], Float[Array, "B S D"]]:
        """Encode normalised images whose sides are multiples of the patch.

        The features, after the last norm, are those of the class token and of the patches row by
        row. With `with_keys` the last layer's keys follow, in `dtype`, heads side by side.
        """
        c, init = self.config, nn.initializers.normal(INIT_STD)
        first = self.param("class_token", init, (1, c.width))
        table = self.param("positions", init, (1 + c.grid**2, c.width))
        x, size = patch_tokens(pixels, first, c.patch, dtype=self.dtype, use_bias=True)
        x = constrain(x + positions(table, size, c)[None], "batch", "length", "embed")
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


def positions(
    table: Float[ArrayLike, "n D"], size: tuple[int, int], config: ViTConfig
) -> Float[ArrayLike, "m D"]:
    """Return the positions of a class token and h x w patches, size = (h, w).

    The table is of a square of `config.grid` patches a side; it is resized to other sizes.
    """
    side, offset = config.grid, config.position_offset
    if tuple(size) == (side, side):
        return table
    rows, columns = (cubic_matrix(side, n, side / (n + offset)) for n in size)
    patches = resample(table[1:].reshape(1, side, side, -1), rows, columns)
    return jnp.concatenate([table[:1], patches.reshape(-1, table.shape[1])])


def init_params(config: ViTConfig, key: Key[Array, ""]) -> Tree:
    """Return random parameters, f32."""
    pixels = jnp.zeros((1, config.patch, config.patch, 3))
    return ViT(config).init(key, pixels)["params"]


def seeded_teacher(width: int, grid: int) -> tuple[ViTConfig, Tree]:
    """Return a small untrained teacher, for runs without DINOv2: its sizes and numpy parameters.

    Args:
      width: width of its features.
      grid: patches per side of the images that it encodes.
    """
    config = small_teacher(width, grid)
    params = jax.jit(lambda: init_params(config, rng.key_for(0, "teacher")))()
    return config, jax.tree.map(np.asarray, params)


def small_teacher(width: int, grid: int) -> ViTConfig:
    """Return the sizes of the teacher that `seeded_teacher` makes."""
    return ViTConfig(
        layers=2, width=width, heads=4, mlp_hidden=2 * width, patch=7, grid=grid, layer_scale=False
    )
