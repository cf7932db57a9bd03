"""CLIP: pictures and texts as vectors of one space, in which what belongs together is close.

Source: Radford et al. 2021 (CLIP), section 2.4, in the form of Hugging Face's `CLIPModel`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxedit.config import CLIPConfig, TowerConfig
from jaxedit.models.encoder_block import INIT_STD, run_encoder
from jaxedit.nn.layers import LayerNorm, dense, exact_gelu, quick_gelu
from jaxedit.ops import masks
from jaxedit.tree import Tree

LARGEST_ID = 2  # CLIPConfig.eos_id of the configs in which a text's largest id ends it


def run_tower(config: TowerConfig, dtype: Any, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Run f32[B,S,D] through all layers of a tower; mask bool[B,1,S,S], True = visible, or None."""
    x, _ = run_encoder(
        x,
        config.layers,
        mask=mask,
        heads=config.heads,
        mlp_hidden=config.mlp_hidden,
        norm_eps=config.norm_eps,
        activation=quick_gelu if config.activation == "quick_gelu" else exact_gelu,
        dtype=dtype,
    )
    return x


class ImageTower(nn.Module):
    """Pixels to the features of a class token and of all patches."""

    config: CLIPConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, pixels: jax.Array) -> tuple[jax.Array, jax.Array]:
        """f32[B,H,W,3] to (f32[B,1+n,D] before the last norm, f32[B,D], the class token after)."""
        c, tower = self.config, self.config.image
        patches = nn.Conv(
            *(tower.width, (c.patch, c.patch), c.patch, "VALID"),
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.normal(INIT_STD),
            name="patch",
        )(pixels)
        B, h, w, D = patches.shape
        init = nn.initializers.normal(INIT_STD)
        first = self.param("class_token", init, (D,))
        table = self.param("positions", init, (1 + c.grid**2, D))
        first = jnp.broadcast_to(first[None, None], (B, 1, D))
        patches = patches.reshape(B, h * w, D).astype(jnp.float32)
        x = jnp.concatenate([first, patches], axis=1) + table[None]
        x = LayerNorm(tower.norm_eps, name="pre_norm")(x)
        x = run_tower(tower, self.dtype, x, None)
        return x, LayerNorm(tower.norm_eps, name="norm")(x[:, :1])[:, 0]


class TextTower(nn.Module):
    """Token ids to the features of a text, each token seeing those before it."""

    config: CLIPConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, ids: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """i32[B,T] and bool[B,T] to (f32[B,T,D] after the last norm, f32[B,D] of the end)."""
        c, tower, (B, T) = self.config, self.config.text, ids.shape
        init = nn.initializers.normal(INIT_STD)
        embed = self.param("embed", init, (c.vocab_size, tower.width))
        table = self.param("positions", init, (c.max_text_tokens, tower.width))
        x = embed[ids].astype(jnp.float32) + table[None, :T]
        visible = jnp.asarray(masks.causal(0, T))[None, None] & mask[:, None, None, :]
        x = run_tower(tower, self.dtype, x, visible)
        x = LayerNorm(tower.norm_eps, name="norm")(x)
        return x, x[jnp.arange(B), end_of_text(ids, c.eos_id)]


class CLIP(nn.Module):
    """Both towers, and the maps from them to the common space.

    Attributes:
      config: sizes.
      dtype: of the matrix products; the residual stream is float32.
    """

    config: CLIPConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Name the towers, the maps, and the logarithm of the logits' scale."""
        P, options = self.config.projection_width, {"use_bias": False}
        self.image = ImageTower(self.config, self.dtype)
        self.text = TextTower(self.config, self.dtype)
        self.image_proj = dense(P, INIT_STD, self.dtype, **options)
        self.text_proj = dense(P, INIT_STD, self.dtype, **options)
        self.logit_scale = self.param("logit_scale", nn.initializers.constant(2.6592), ())

    def encode_image(self, pixels: jax.Array) -> jax.Array:
        """Features of B pictures, not of length one.

        Args:
          pixels: f32[B,H,W,3], normalised, H = W = `config.pixels`.

        Returns:
          f32[B,P].

        Raises:
          ValueError: the pictures have another size.
        """
        side = self.config.pixels
        if pixels.shape[1:3] != (side, side):
            size = "x".join(map(str, pixels.shape[1:3]))
            raise ValueError(f"image {size}: expected {side}x{side} pixels")
        return self.image_proj(self.image(pixels)[1]).astype(jnp.float32)

    def encode_text(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Features of B texts, not of length one.

        Args:
          ids: i32[B,T], T up to `config.max_text_tokens`.
          mask: bool[B,T], True at tokens, False at padding.

        Returns:
          f32[B,P].

        Raises:
          ValueError: the texts are too long.
        """
        if ids.shape[1] > self.config.max_text_tokens:
            raise ValueError(
                f"text of {ids.shape[1]} tokens: expected at most {self.config.max_text_tokens}"
            )
        return self.text_proj(self.text(ids, mask)[1]).astype(jnp.float32)

    def __call__(self, pixels: jax.Array, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """How well each picture (row) fits each text (column): scaled cosines f32[B,B']."""
        images, texts = self.encode_image(pixels), self.encode_text(ids, mask)
        images, texts = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (images, texts))
        return jnp.exp(self.logit_scale) * images @ texts.T


def end_of_text(ids: jax.Array, eos_id: int) -> jax.Array:
    """Where each text ends, i32[B], of ids i32[B,T]: at the first `eos_id`.

    The configs of the first releases say 2 where the vocabulary's last entry ends a text; the
    position is then that of the largest id.
    """
    return jnp.argmax(ids if eos_id == LARGEST_ID else ids == eos_id, axis=1)


def init_params(config: CLIPConfig, key: jax.Array) -> Tree:
    """Random parameters, f32."""
    pixels = jnp.zeros((1, config.pixels, config.pixels, 3))
    ids = jnp.zeros((1, 2), jnp.int32)
    return CLIP(config).init(key, pixels, ids, ids == 0)["params"]
