"""The layer of the VAREdit transformer, its attention patterns, and the stack of all layers.

Training, prefill and sampling run the same block with another attention pattern and cache.

Source: Infinity (Han et al. 2024), section 3.1; VAREdit, section 3; release code.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int32

from jaxedit.config import VAREditConfig
from jaxedit.nn.attention import (
    AttentionPattern,
    block_causal_attention,
    dot_product_attention,
    extend_attention,
    join_heads,
    split_heads,
)
from jaxedit.nn.kernels import Queries
from jaxedit.nn.kv_cache import KeysValues, KVCache
from jaxedit.nn.layers import MLP, LayerNorm, dense, drop_path, modulate
from jaxedit.ops import rope
from jaxedit.sharding.rules import constrain

Hidden = Float[Array, "B N D"]
Text = Float[Array, "B T D"]
TextMask = Bool[ArrayLike, "B T"]  # True at tokens of the text

MAX_LOG_SCALE = math.log(100.0)


class Context(NamedTuple):
    """Inputs of every block besides the tokens.

    Attributes:
      ada: modulation that all blocks share.
      text: text tokens; None if each layer is given their keys and values.
      table: rotary positions of the tokens, of each row if the rows run different tokens.
    """

    ada: Float32[Array, "B 6 D"]
    text: Text | None
    text_mask: TextMask
    table: Float32[Array, "2 *B N E//2"]


class PerLayer(NamedTuple):
    """Inputs of each block of its own; None where not needed.

    Attributes:
      drop_rate: probability with which a residual branch skips a row.
      text: keys and values of the text in this layer.
      index: number of the block's layer in the cache.
    """

    drop_rate: Float[Array, ""] | None = None
    text: KeysValues | None = None
    index: Int32[Array, ""] | None = None


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class BlockCausal:
    """A sequence of blocks from the start: each block sees itself and all earlier blocks."""

    blocks: tuple[int, ...]
    keep: bool = False  # whether keys and values are returned

    def __call__(
        self, queries: Queries, new: KeysValues, past: None
    ) -> tuple[Queries, KeysValues | None]:
        """See `AttentionPattern`."""
        attended = block_causal_attention(queries, *new, self.blocks)
        return attended, new if self.keep else None


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Extend:
    """The next block of a sequence, which sees itself and the first `start` tokens of the cache."""

    start: int

    def __call__(
        self, queries: Queries, new: KeysValues, past: KVCache
    ) -> tuple[Queries, KeysValues]:
        """See `AttentionPattern`."""
        return extend_attention(queries, new, past, self.start), new


class CosineAttention(nn.Module):
    """Self-attention by cosines, with a learnt scale per head and rotary positions.

    Source: Swin Transformer V2, section 3.3 (cosine attention).
    """

    heads: int
    std: float
    proj_std: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Hidden, table: Float32[Array, "2 *B N half"], pattern: AttentionPattern, past: Any
    ) -> tuple[Hidden, Any]:
        """Attend as `VAREditBlock` describes; the result has the compute dtype."""
        B, N, D = x.shape
        zeros = nn.initializers.zeros
        q_bias, v_bias = self.param("q_bias", zeros, (D,)), self.param("v_bias", zeros, (D,))
        log_scale = self.param("scale", nn.initializers.constant(math.log(4.0)), (self.heads,))
        qkv = dense(3 * D, self.std, self.dtype, name="qkv", use_bias=False, parts=3)(x)
        qkv = qkv.reshape(B, N, 3, self.heads, D // self.heads).transpose(2, 0, 3, 1, 4)

        q_bias, v_bias = (b.reshape(1, self.heads, 1, -1) for b in (q_bias, v_bias))
        scale = jnp.exp(jnp.minimum(log_scale, MAX_LOG_SCALE))[None, :, None, None]
        q, k = qkv[0] + q_bias, qkv[1]
        # Turned in the compute dtype and then normalised: half the bits to multiply, none lost.
        turned_q = rope.quarter_turn(qkv[0]) + rope.quarter_turn(q_bias)
        q = rope.rotate_by(q, turned_q, table) * (scale * inverse_length(q))
        k = rope.rotate_by(k, rope.quarter_turn(k), table) * inverse_length(k)
        v = qkv[2] + v_bias.astype(self.dtype)
        out, kept = pattern(q.astype(self.dtype), KeysValues(k.astype(self.dtype), v), past)
        return dense(D, self.proj_std, self.dtype, name="proj")(join_heads(out)), kept


class CrossAttention(nn.Module):
    """Attention from image tokens to text tokens."""

    heads: int
    width: int
    std: float
    proj_std: float
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Declare q, kv, v_bias and proj."""
        self.q = dense(self.width, self.std, self.dtype)
        self.kv = dense(2 * self.width, self.std, self.dtype, use_bias=False, parts=2)
        self.v_bias = self.param("v_bias", nn.initializers.zeros, (self.width,))
        self.proj = dense(self.width, self.proj_std, self.dtype)

    def keys_values(self, text: Text) -> KeysValues:
        """Return the keys and values [B,A,T,E] of text tokens."""
        k, v = jnp.moveaxis(self.kv(text), 2, 0)  # [B,T,D] each
        v = v + self.v_bias[None, None].astype(self.dtype)
        return KeysValues(split_heads(k, self.heads), split_heads(v, self.heads))

    def __call__(self, x: Hidden, text: KeysValues, mask: TextMask) -> Hidden:
        """Attend from image tokens to `keys_values(...)` where `mask` is True."""
        E = self.width // self.heads
        q = split_heads(self.q(x), self.heads) * E**-0.5
        return self.proj(join_heads(dot_product_attention(q, *text, mask[:, None, None, :])))


class VAREditBlock(nn.Module):
    """Self-attention, cross-attention and MLP; the residual stream is f32."""

    config: VAREditConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Declare the parts."""
        cfg, std = self.config, self.config.init_std
        out_std = std / math.sqrt(2 * cfg.depth)
        self.ada_bias = self.param("ada_bias", _init_ada_bias, (6, cfg.width))
        self.attn = CosineAttention(cfg.heads, std, out_std, self.dtype)
        self.cross_norm = LayerNorm(cfg.norm_eps)
        self.cross = CrossAttention(cfg.heads, cfg.width, std, out_std, self.dtype)
        self.mlp = MLP(cfg.mlp_hidden, std, out_std, self.dtype)

    def read_text(self, text: Text) -> tuple[Text, KeysValues]:
        """Return the text tokens unchanged, and their keys and values in this layer."""
        return text, self.cross.keys_values(text)

    def __call__(
        self, x: Hidden, layer: PerLayer, context: Context, pattern: AttentionPattern, past: Any
    ) -> tuple[Hidden, Any]:
        """Run the layer, in the (carry, output) form of a scan over layers.

        Args:
          x: image tokens.
          layer: see `PerLayer`.
          context: see `Context`.
          pattern: what the tokens see.
          past: what the pattern needs of earlier tokens; a `KVCache` is set to this layer.

        Returns:
          The tokens after the layer, and what the pattern keeps.
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


def stack_varedit_blocks(block: type[nn.Module], length: int, unroll: int) -> type[nn.Module]:
    """Scan `block` over `length` layers, `unroll` at a time; `PerLayer` is cut along axis 0."""
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


def drop_rates(config: VAREditConfig) -> Float32[Array, " L"]:
    """Return the stochastic depth of layers 1 and on, growing linearly from 0 at layer 0."""
    return jnp.linspace(0, config.drop_path, config.depth)[1:]


def _init_ada_bias(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
    std = jnp.array([5e-6, 5e-6, 1e-3, 1e-3, 1e-3, 1e-3])[:, None] / math.sqrt(shape[1])
    return jax.random.normal(key, shape, dtype) * std


def inverse_length(x: Float[Array, "*n E"]) -> Float32[Array, "*n 1"]:
    """Return 1 over the length of vectors over the last axis; the gradient at zero is finite."""
    x = x.astype(jnp.float32)
    square = jnp.sum(x * x, axis=-1, keepdims=True)
    return jax.lax.rsqrt(jnp.maximum(square, 1e-24))
