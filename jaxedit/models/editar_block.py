"""One layer of LlamaGen's and EditAR's transformer.

Source: Sun et al. 2024 (LlamaGen), section 2.2, on the architecture of Llama; release code.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxedit.config import EditARConfig
from jaxedit.nn.attention import causal_attention, join_heads, split_heads
from jaxedit.nn.layers import RMSNorm, dense, dropout
from jaxedit.ops import rope
from jaxedit.sharding.rules import constrain

INIT_STD = 0.02  # of every kernel and embedding


class CausalAttention(nn.Module):
    """Causal self-attention with rotary positions; groups of heads may share keys and values."""

    config: EditARConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, table: jax.Array, visible: jax.Array | None) -> jax.Array:
        """Attend from every token to itself and earlier ones.

        Args:
          x: f32[B,S,D].
          table: f32[2,S,E/2], from `rope.sequence_table`.
          visible: bool[B,S], keys that others may see; None is all.

        Returns:
          [B,S,D] in the compute dtype.
        """
        cfg = self.config
        shared = cfg.groups * cfg.head_width  # width of the keys, and of the values
        parts, options = cfg.width // shared + 2, {"name": "qkv", "use_bias": False}
        qkv = dense(parts * shared, INIT_STD, self.dtype, parts=parts, **options)(x)
        q, k, v = qkv[:, :, :-2].reshape(x.shape), qkv[:, :, -2], qkv[:, :, -1]
        q = rope.rotate(split_heads(q, cfg.heads).astype(jnp.float32), table)
        k = rope.rotate(split_heads(k, cfg.groups).astype(jnp.float32), table)
        q, k = (q * cfg.head_width**-0.5).astype(self.dtype), k.astype(self.dtype)
        k, v = (
            jnp.repeat(t, cfg.heads // cfg.groups, axis=1) for t in (k, split_heads(v, cfg.groups))
        )
        out = join_heads(causal_attention(q, k, v, visible))
        return dense(cfg.width, INIT_STD, self.dtype, name="proj", use_bias=False)(out)


class GatedMLP(nn.Module):
    """`down(silu(gate(x)) * up(x))`; gate and up are one product."""

    config: EditARConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """f32[B,S,D] to [B,S,D] in the compute dtype."""
        hidden, width = self.config.mlp_hidden, self.config.width
        options = {"name": "gate_up", "use_bias": False, "parts": 2}
        gate, up = jnp.moveaxis(dense(2 * hidden, INIT_STD, self.dtype, **options)(x), 2, 0)
        return dense(width, INIT_STD, self.dtype, name="down", use_bias=False)(nn.silu(gate) * up)


class EditARBlock(nn.Module):
    """Attention and MLP, each after a norm and beside a skip; the residual stream is f32."""

    config: EditARConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        table: jax.Array,
        visible: jax.Array | None,
        drop_rate: jax.Array | None,
    ) -> tuple[jax.Array, None]:
        """One layer, in the (carry, output) form of a scan over layers.

        Args:
          x: f32[B,S,D].
          table: f32[2,S,E/2], rotary positions.
          visible: bool[B,S], keys that others may see; None is all.
          drop_rate: f32[], of the dropout after both parts; None is none.

        Returns:
          f32[B,S,D], and None.
        """
        cfg = self.config
        norm = RMSNorm(cfg.norm_eps, name="attn_norm")
        out = CausalAttention(cfg, self.dtype, name="attn")(norm(x), table, visible)
        x = x + self._dropout(out, drop_rate)
        norm = RMSNorm(cfg.norm_eps, name="mlp_norm")
        x = x + self._dropout(GatedMLP(cfg, self.dtype, name="mlp")(norm(x)), drop_rate)
        return constrain(x, "batch", "length", "embed"), None

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
