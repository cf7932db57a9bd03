"""One layer of LlamaGen's and EditAR's transformer: the same in training, prefill and decoding.

What differs is the pattern by which tokens attend, see `editar_attention`, and its cache.

Source: Sun et al. 2024 (LlamaGen), section 2.2, on the architecture of Llama; release code.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxedit.config import EditARConfig
from jaxedit.nn.attention import AttentionPattern
from jaxedit.nn.kv_cache import KeysValues
from jaxedit.nn.layers import RMSNorm, dense, dropout, packed_dense
from jaxedit.sharding.rules import constrain

INIT_STD = 0.02  # of every kernel and embedding


class PackedAttention(nn.Module):
    """Self-attention with one kernel for queries, keys and values; heads may share the latter."""

    config: EditARConfig
    dtype: Any = jnp.float32
    wide: bool = False
    values_only: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, pattern: AttentionPattern, past: Any) -> tuple[jax.Array, Any]:
        """Attend from every token.

        Args:
          x: f32[B,S,D].
          pattern: where tokens are and what they see, see `editar_attention`.
          past: what the pattern needs of earlier tokens.

        Returns:
          [B,S,D] in the compute dtype (wide: f32), and what the pattern keeps.
        """
        c, kinds = self.config, {"wide": self.wide}
        shared = c.groups * c.head_width  # width of the keys, and of the values
        first, widths = 2 if self.values_only else 0, (c.width, shared, shared)
        project = packed_dense(widths, INIT_STD, self.dtype, name="qkv", first=first, **kinds)
        *qk, v = (y.reshape(*y.shape[:2], -1, c.head_width) for y in project(x))
        q, k = qk or (None, None)
        out, kept = pattern(q, KeysValues(k, v), past)
        proj = dense(c.width, INIT_STD, self.dtype, name="proj", use_bias=False, **kinds)
        return proj(out), kept


class PackedGatedMLP(nn.Module):
    """`down(silu(gate(x)) * up(x))`; gate and up are one product."""

    config: EditARConfig
    dtype: Any = jnp.float32
    wide: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """f32[B,S,D] to [B,S,D] in the compute dtype (wide: f32)."""
        c, kinds = self.config, {"wide": self.wide}
        widths = c.mlp_hidden, c.mlp_hidden
        gate, up = packed_dense(widths, INIT_STD, self.dtype, name="gate_up", **kinds)(x)
        down = dense(c.width, INIT_STD, self.dtype, name="down", use_bias=False, **kinds)
        return down(nn.silu(gate) * up)


class EditARBlock(nn.Module):
    """Attention and MLP, each after a norm and beside a skip; the residual stream is f32.

    Attributes:
      config: sizes.
      dtype: of the operands of matrix products.
      wide: whether products stay as they are added up, in f32: decoding does so, at no cost for a
        few tokens. Training rounds them to `dtype`, which halves what is kept for gradients.
      values_only: whether the pattern reads no queries and keys, which then are None.
    """

    config: EditARConfig
    dtype: Any = jnp.float32
    wide: bool = False
    values_only: bool = False

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        pattern: AttentionPattern,
        past: Any = None,
        drop_rate: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """One layer, in the (carry, output) form of a scan over layers.

        Args:
          x: f32[B,S,D].
          pattern: where tokens are and what they see, see `editar_attention`.
          past: what the pattern needs of earlier tokens in this layer.
          drop_rate: f32[], of the dropout after both parts; None is none.

        Returns:
          f32[B,S,D], and what the pattern keeps.
        """
        cfg, options = self.config, (self.dtype, self.wide)
        norm = RMSNorm(cfg.norm_eps, name="attn_norm")
        attention = PackedAttention(cfg, *options, self.values_only, name="attn")
        out, kept = attention(norm(x), pattern, past)
        x = x + self._dropout(out, drop_rate)
        norm = RMSNorm(cfg.norm_eps, name="mlp_norm")
        x = x + self._dropout(PackedGatedMLP(cfg, *options, name="mlp")(norm(x)), drop_rate)
        return constrain(x, "batch", "length", "embed"), kept

    def _dropout(self, x: jax.Array, rate: jax.Array | None) -> jax.Array:
        return x if rate is None else dropout(x, rate, self.make_rng("dropout"))


def stack_editar_blocks(block: type[nn.Module], length: int, unroll: int) -> type[nn.Module]:
    """`block` scanned over `length` layers, `unroll` in a turn; they share all inputs but `x`."""
    return nn.scan(
        block,
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=(nn.broadcast, nn.broadcast, nn.broadcast),
        length=length,
        unroll=unroll,
    )
