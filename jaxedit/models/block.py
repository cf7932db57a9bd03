"""One layer of the VAREdit transformer, and the stack of all layers but the first.

Source: Infinity (Han et al. 2024), section 3.1; VAREdit, section 3; release code.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxedit.config import VAREditConfig
from jaxedit.nn.attention import AttentionPattern, CrossAttention, KeysValues, SelfAttention
from jaxedit.nn.layers import MLP, LayerNorm, drop_path, modulate
from jaxedit.sharding.rules import constrain


class Context(NamedTuple):
    """What every block gets besides the tokens.

    ada: f32[B,6,C], shared modulation; text: [B,T,C], or None if keys and values are given layer
    by layer; text_mask: bool[B,T]; table: f32[2,N,E/2], rotary positions of the tokens.
    """

    ada: jax.Array
    text: jax.Array | None
    text_mask: jax.Array
    table: jax.Array


class PerLayer(NamedTuple):
    """What each block gets of its own.

    drop_rate: f32[], probability to skip a residual branch of a row; text: keys and values of the
    text in this layer; index: i32[], the block's layer in the cache. None where not needed.
    """

    drop_rate: jax.Array | None = None
    text: KeysValues | None = None
    index: jax.Array | None = None


class Block(nn.Module):
    """Self-attention, cross-attention and MLP; the residual stream is f32."""

    config: VAREditConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Declare the parts."""
        cfg, std = self.config, self.config.init_std
        out_std = std / math.sqrt(2 * cfg.depth)
        self.ada_bias = self.param("ada_bias", _init_ada_bias, (6, cfg.width))
        self.attn = SelfAttention(cfg.heads, std, out_std, self.dtype)
        self.cross_norm = LayerNorm(cfg.norm_eps)
        self.cross = CrossAttention(cfg.heads, cfg.width, std, out_std, self.dtype)
        self.mlp = MLP(cfg.mlp_hidden, std, out_std, self.dtype)

    def read_text(self, text: jax.Array) -> tuple[jax.Array, KeysValues]:
        """The text tokens [B,T,C] unchanged, and their keys and values in this layer."""
        return text, self.cross.keys_values(text)

    def __call__(
        self, x: jax.Array, layer: PerLayer, context: Context, pattern: AttentionPattern, past: Any
    ) -> tuple[jax.Array, Any]:
        """One layer.

        Args:
          x: f32[B,N,C].
          layer: see `PerLayer`.
          context: see `Context`.
          pattern: what the tokens see.
          past: what the pattern needs of earlier tokens; a `KVCache` is set to this layer.

        Returns:
          f32[B,N,C], and what the pattern keeps.
        """
        eps = self.config.norm_eps
        ada = context.ada + self.ada_bias[None]
        gamma1, gamma2, scale1, scale2, shift1, shift2 = (ada[:, i] for i in range(6))
        if layer.index is not None:
            past = past._replace(layer=layer.index)

        out, kept = self.attn(modulate(x, scale1, shift1, eps), context.table, pattern, past)
        x = x + self._drop_path(out * gamma1[:, None], layer.drop_rate)
        text = self.cross.keys_values(context.text) if layer.text is None else layer.text
        x = x + self.cross(self.cross_norm(x), text, context.text_mask)
        out = self.mlp(modulate(x, scale2, shift2, eps))
        x = x + self._drop_path(out * gamma2[:, None], layer.drop_rate)
        return constrain(x, "batch", "length", "embed"), kept

    def _drop_path(self, x: jax.Array, rate: jax.Array | None) -> jax.Array:
        return x if rate is None else drop_path(x, rate, self.make_rng("drop_path"))


def stack(block: type[nn.Module], length: int, unroll: int) -> type[nn.Module]:
    """`block` scanned over `length` layers, `unroll` in a turn; `PerLayer` is cut along axis 0."""
    shared = {
        "variable_axes": {"params": 0},
        "split_rngs": {"params": True, "drop_path": True},
        "length": length,
        "unroll": unroll,
    }
    methods = {
        "__call__": shared | {"in_axes": (0, nn.broadcast, nn.broadcast, nn.broadcast)},
        "read_text": shared | {"in_axes": ()},
    }
    return nn.scan(block, methods=methods)


def drop_rates(config: VAREditConfig) -> jax.Array:
    """Stochastic depth of layers 1 to L-1, growing linearly from 0 at layer 0."""
    return jnp.linspace(0, config.drop_path, config.depth)[1:]


def _init_ada_bias(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
    std = jnp.array([5e-6, 5e-6, 1e-3, 1e-3, 1e-3, 1e-3])[:, None] / math.sqrt(shape[1])
    return jax.random.normal(key, shape, dtype) * std
