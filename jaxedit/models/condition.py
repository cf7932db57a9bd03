"""The text condition: a vector for modulation, and tokens for cross-attention.

Source: Infinity (Han et al. 2024), section 3.1; release code.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32

from jaxedit.config import VAREditConfig
from jaxedit.nn.attention import dot_product_attention
from jaxedit.nn.layers import RMSNorm, dense, exact


class TextEncoder(nn.Module):
    """From text features to a vector and to the tokens of cross-attention, in f32 throughout."""

    config: VAREditConfig

    @nn.compact
    @exact
    def __call__(
        self,
        text: Float[ArrayLike, "B T Ct"],
        mask: Bool[ArrayLike, "B T"],
        drop: Bool[ArrayLike, " B"],
    ) -> tuple[Float32[Array, "B D"], Float32[Array, "B T D"]]:
        """Encode texts; dropped rows become the learnt unconditional text of the same length.

        Raises:
          ValueError: T is larger than `max_text_tokens`.
        """
        cfg, std = self.config, self.config.init_std
        T = text.shape[1]
        if T > cfg.max_text_tokens:
            raise ValueError(f"{T} text tokens: expected at most {cfg.max_text_tokens}")
        uncond = self.param("uncond", _init_uncond, (cfg.max_text_tokens, cfg.text_width))
        text = jnp.where(drop[:, None, None], uncond[None, :T], text.astype(jnp.float32))
        text = RMSNorm(cfg.norm_eps, name="norm")(text)
        pooled = AttentivePool(cfg.width, cfg.text_pool_heads, std, name="pool")(text, mask)
        hidden = nn.gelu(dense(cfg.width, std, jnp.float32, name="up")(text), approximate=True)
        return pooled, dense(cfg.width, std, jnp.float32, name="down")(hidden)


class AttentivePool(nn.Module):
    """Attention from a learnt query per head, which gathers a text into a vector."""

    width: int
    heads: int
    std: float

    @nn.compact
    def __call__(
        self, text: Float32[Array, "B T Ct"], mask: Bool[ArrayLike, "B T"]
    ) -> Float32[Array, "B D"]:
        """Pool the tokens where `mask` is True."""
        B, T, _ = text.shape
        E = self.width // self.heads
        query = self.param("query", nn.initializers.normal(self.std), (self.heads, E))
        v_bias = self.param("v_bias", nn.initializers.zeros, (self.width,))
        options = {"name": "kv", "use_bias": False, "parts": 2}
        kv = dense(2 * self.width, self.std, jnp.float32, **options)(text)
        kv = kv.reshape(B, T, 2, self.heads, E).transpose(2, 0, 3, 1, 4)  # [2,B,A,T,E]
        q = jnp.broadcast_to(query[None, :, None] * E**-0.5, (B, self.heads, 1, E))
        pooled = dot_product_attention(q, kv[0], kv[1], mask[:, None, None])
        # The weights sum to one, so the bias of the values passes through.
        pooled = pooled.reshape(B, self.width) + v_bias[None]
        return dense(self.width, self.std, jnp.float32, name="proj")(pooled)


def _init_uncond(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
    cut = 2 / 1.2
    return jax.random.truncated_normal(key, -cut, cut, shape, dtype) * (1.2 / math.sqrt(shape[1]))
