"""CLIP: images and texts as vectors of one space, in which matching images and texts are close.

Source: Radford et al. 2021 (CLIP), section 2.4, in the form of Hugging Face's `CLIPModel`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int, Int32, Key

from jaxedit.config import CLIPConfig, TowerConfig
from jaxedit.models.encoder_block import INIT_STD, patch_tokens, run_encoder
from jaxedit.nn.layers import LayerNorm, dense, exact_gelu, quick_gelu
from jaxedit.ops import masks
from jaxedit.tree import Tree

LARGEST_ID = 2  # CLIPConfig.eos_id of the configs in which a text ends at its largest id


class ImageTower(nn.Module):
    """From pixels to the features of a class token and of all patches."""

    config: CLIPConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, pixels: Float[ArrayLike, "B H W 3"]
    ) -> tuple[Float32[Array, "B S D"], Float32[Array, "B D"]]:
        """Return features of all tokens before the last norm, and of the class token after it."""
        c, tower = self.config, self.config.image
        init = nn.initializers.normal(INIT_STD)
        first = self.param("class_token", init, (tower.width,))
        table = self.param("positions", init, (1 + c.grid**2, tower.width))
        x, _ = patch_tokens(pixels, first[None], c.patch, dtype=self.dtype, use_bias=False)
        x = LayerNorm(tower.norm_eps, name="pre_norm")(x + table[None])
        x = _run_tower(tower, self.dtype, x, None)
        return x, LayerNorm(tower.norm_eps, name="norm")(x[:, :1])[:, 0]


class TextTower(nn.Module):
    """From token ids to the features of a text; each token sees itself and the tokens before."""

    config: CLIPConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, ids: Int[ArrayLike, "B T"], mask: Bool[ArrayLike, "B T"]
    ) -> tuple[Float32[Array, "B T D"], Float32[Array, "B D"]]:
        """Return features of all tokens, and of the token that ends each text."""
        c, tower, (B, T) = self.config, self.config.text, ids.shape
        init = nn.initializers.normal(INIT_STD)
        embed = self.param("embed", init, (c.vocab_size, tower.width))
        table = self.param("positions", init, (c.max_text_tokens, tower.width))
        x = embed[ids].astype(jnp.float32) + table[None, :T]
        visible = jnp.asarray(masks.causal(0, T))[None, None] & mask[:, None, None, :]
        x = _run_tower(tower, self.dtype, x, visible)
        x = LayerNorm(tower.norm_eps, name="norm")(x)
        return x, x[jnp.arange(B), end_of_text(ids, c.eos_id)]


def _run_tower(config: TowerConfig, dtype: Any, x: jax.Array, mask: jax.Array | None) -> jax.Array:
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


class CLIP(nn.Module):
    """Both towers, and the maps from the towers to the common space of width P.

    Matrix products have `dtype`; the residual stream is float32.
    """

    config: CLIPConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Declare the towers, the maps, and the logarithm of the logits' scale."""
        P, options = self.config.projection_width, {"use_bias": False}
        self.image = ImageTower(self.config, self.dtype)
        self.text = TextTower(self.config, self.dtype)
        self.image_proj = dense(P, INIT_STD, self.dtype, **options)
        self.text_proj = dense(P, INIT_STD, self.dtype, **options)
        self.logit_scale = self.param("logit_scale", nn.initializers.constant(2.6592), ())

    def encode_image(self, pixels: Float[ArrayLike, "B H W 3"]) -> Float32[Array, "B P"]:
        """Encode normalised images of `config.pixels` x `config.pixels`; vectors have any length.

        Raises:
          ValueError: the images have another size.
        """
        side = self.config.pixels
        if pixels.shape[1:3] != (side, side):
            size = "x".join(map(str, pixels.shape[1:3]))
            raise ValueError(f"image {size}: expected {side}x{side} pixels")
        return self.image_proj(self.image(pixels)[1]).astype(jnp.float32)

    def encode_text(
        self, ids: Int[ArrayLike, "B T"], mask: Bool[ArrayLike, "B T"]
    ) -> Float32[Array, "B P"]:
        """Encode texts; vectors have any length.

        Args:
          ids: up to `config.max_text_tokens` tokens of each text.
          mask: True at tokens, False at padding.

        Raises:
          ValueError: the texts are too long.
        """
        if ids.shape[1] > self.config.max_text_tokens:
            raise ValueError(
                f"text of {ids.shape[1]} tokens: expected at most {self.config.max_text_tokens}"
            )
        return self.text_proj(self.text(ids, mask)[1]).astype(jnp.float32)

    def __call__(
        self,
        pixels: Float[ArrayLike, "images H W 3"],
        ids: Int[ArrayLike, "texts T"],
        mask: Bool[ArrayLike, "texts T"],
    ) -> Float32[Array, "images texts"]:
        """Return how well each image fits each text: scaled cosines."""
        images, texts = self.encode_image(pixels), self.encode_text(ids, mask)
        images, texts = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (images, texts))
        return jnp.exp(self.logit_scale) * images @ texts.T


def end_of_text(ids: Int[ArrayLike, "B T"], eos_id: int) -> Int32[Array, " B"]:
    """Return the position at which each text ends: the first `eos_id`.

    The configs of the first releases say 2 although the last entry of the vocabulary ends a text;
    the text then ends at its largest id.
    """
    return jnp.argmax(ids if eos_id == LARGEST_ID else ids == eos_id, axis=1)


def init_params(config: CLIPConfig, key: Key[Array, ""]) -> Tree:
    """Return random parameters, f32."""
    pixels = jnp.zeros((1, config.pixels, config.pixels, 3))
    ids = jnp.zeros((1, 2), jnp.int32)
    return CLIP(config).init(key, pixels, ids, ids == 0)["params"]
