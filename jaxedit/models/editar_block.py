"""The layer of LlamaGen's and EditAR's transformer, shared by training, prefill and decoding.

These differ in the pattern by which tokens attend, see `editar_attention`, and in its cache.

Source: Sun et al. 2024 (LlamaGen), section 2.2, on the architecture of Llama; release code.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from jaxedit.config import EditARConfig
from jaxedit.nn.attention import AttentionPattern
from jaxedit.nn.kv_cache import KeysValues
from jaxedit.nn.layers import RMSNorm, dense, dropout, packed_dense
from jaxedit.sharding.rules import constrain

INIT_STD = 0.02  # deviation of every kernel and embedding at the start


class PackedAttention(nn.Module):
    """Self-attention with one kernel for queries, keys and values.

    Several heads may share keys and values.
    """

    config: EditARConfig
    dtype: Any = jnp.float32
    wide: bool = False
    values_only: bool = False

    @nn.compact
    def __call__(
        self, x: Float32[Array, "B S D"], pattern: AttentionPattern, past: Any
    ) -> tuple[Float[Array, "B S D"], Any]:
        """Attend as `EditARBlock` describes; the result has the compute dtype (wide: f32)."""
        c, kinds = self.config, {"wide": self.wide}
        shared = c.groups * c.head_width  # width of the keys, and of the values
        first, widths = 2 if self.values_only else 0, (c.width, shared, shared)
        heads = {"first": first, "head_width": c.head_width}
        project = packed_dense(widths, INIT_STD, self.dtype, name="qkv", **heads, **kinds)
        *qk, v = project(x)
        q, k = qk or (None, None)
        out, kept = pattern(q, KeysValues(k, v), past)
        kinds |= {"name": "proj", "use_bias": False, "head_width": c.head_width}
        return dense(c.width, INIT_STD, self.dtype, **kinds)(out), kept


class PackedGatedMLP(nn.Module):
    """`down(silu(gate(x)) * up(x))`; gate and up are one product."""

    config: EditARConfig
    dtype: Any = jnp.float32
    wide: bool = False

    @nn.compact
    def __call__(self, x: Float32[Array, "B S D"]) -> Float[Array, "B S D"]:
        """Map tokens; the result has the compute dtype (wide: f32)."""
        c, kinds = self.config, {"wide": self.wide}
        widths = c.mlp_hidden, c.mlp_hidden
        gate, up = packed_dense(widths, INIT_STD, self.dtype, name="gate_up", **kinds)(x)
        down = dense(c.width, INIT_STD, self.dtype, name="down", use_bias=False, **kinds)
        return down(nn.silu(gate) * up)


class EditARBlock(nn.Module):
    """Attention and MLP, each after a norm and beside a skip; the residual stream is f32.

    Attributes:
      config: sizes.
      dtype: dtype of the operands of matrix products.
      wide: keep products as they are added up, in f32: decoding does so, at no cost for a few
        tokens. Training rounds them to `dtype`, which halves what is kept for gradients.
      values_only: the pattern reads no queries and keys, which then are None.
    """

    config: EditARConfig
    dtype: Any = jnp.float32
    wide: bool = False
    values_only: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float32[Array, "B S D"],
        pattern: AttentionPattern,
        past: Any = None,
        drop_rate: float | Float[Array, ""] | None = None,
    ) -> tuple[Float32[Array, "B S D"], Any]:
        """Run the layer, in the (carry, output) form of a scan over layers.

        Args:
          x: tokens.
          pattern: positions of the tokens and what they see, see `editar_attention`.
          past: what the pattern needs of earlier tokens in this layer.
          drop_rate: dropout after attention and MLP; None: no dropout.

        Returns:
          The tokens after the layer, and what the pattern keeps.
        """
        cfg, options = self.config, (self.dtype, self.wide)
        norm = RMSNorm(cfg.norm_eps, name="attn_norm")
        attention = PackedAttention(cfg, *options, self.values_only, name="attn")
        out, kept = attention(norm(x), pattern, past)
        x = x + self._dropout(out, drop_rate)
        norm = RMSNorm(cfg.norm_eps, name="mlp_norm")
        x = x + self._dropout(PackedGatedMLP(cfg, *options, name="mlp")(norm(x)), drop_rate)
        return constrain(x, "batch", "length", "embed"), kept

    def _dropout(self, x: jax.Array, rate: float | jax.Array | None) -> jax.Array:
        return x if rate is None else dropout(x, rate, self.make_rng("dropout"))


def stack_editar_blocks(block: type[nn.Module], length: int, unroll: int) -> type[nn.Module]:
    """Scan `block` over `length` layers, `unroll` at a time; layers share all inputs but `x`."""
    return nn.scan(
        block,
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=(nn.broadcast, nn.broadcast, nn.broadcast),
        length=length,
        unroll=unroll,
    )
