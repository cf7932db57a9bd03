"""The encoder of T5 v1.1 and Flan-T5, which turns instructions into features.

Unlike other transformers, T5 does not scale the attention scores by 1/sqrt(E), has no biases, and
adds the same learnt position bias to every layer's scores.

Source: Raffel et al. 2020; gated GELU from Shazeer 2020.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float32, Int

from jaxedit.config import T5Config
from jaxedit.nn.layers import RMSNorm, dense, embedding_lookup
from jaxedit.ops.relative_position import position_buckets
from jaxedit.sharding.rules import constrain

Tokens = Float32[Array, "B T D"]
PositionBias = Float32[ArrayLike, "A T T"]
TokenMask = Bool[ArrayLike, "B T"]  # True at tokens, False at padding


class T5Attention(nn.Module):
    """Self-attention over the text with an additive position bias."""

    config: T5Config
    dtype: Any

    @nn.compact
    def __call__(self, x: Tokens, bias: PositionBias, mask: TokenMask) -> Tokens:
        """Attend from every token to the tokens where `mask` is True."""
        c, inner = self.config, self.config.heads * self.config.head_width
        heads = (*x.shape[:2], c.heads, c.head_width)
        # Queries start smaller, which makes up for the missing 1/sqrt(E).
        q = _dense(inner, c.width * c.head_width, self.dtype, "q")(x).reshape(heads)  # [B,T,A,E]
        k = _dense(inner, c.width, self.dtype, "k")(x).reshape(heads)
        v = _dense(inner, c.width, self.dtype, "v")(x).reshape(heads)
        scores = jnp.einsum("bqae,bkae->baqk", q, k, preferred_element_type=jnp.float32)
        scores = scores + bias[None]
        scores = jnp.where(mask[:, None, None, :], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=-1).astype(self.dtype)
        out = jnp.einsum("baqk,bkae->bqae", weights, v).reshape(*x.shape[:2], inner)
        return _dense(c.width, inner, self.dtype, "o", wide=True)(out)


class T5GatedMLP(nn.Module):
    """`down(gelu(gate(x)) * up(x))`."""

    config: T5Config
    dtype: Any

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        """Map tokens."""
        c = self.config
        gate = _dense(c.mlp_hidden, c.width, self.dtype, "gate")(x)
        up = _dense(c.mlp_hidden, c.width, self.dtype, "up")(x)
        hidden = jax.nn.gelu(gate, approximate=True) * up
        return _dense(c.width, c.mlp_hidden, self.dtype, "down", wide=True)(hidden)


class T5Block(nn.Module):
    """A layer: attention and MLP, each after a norm and beside a skip."""

    config: T5Config
    dtype: Any

    @nn.compact
    def __call__(self, x: Tokens, bias: PositionBias, mask: TokenMask) -> tuple[Tokens, None]:
        """Run the layer, in the (carry, output) form of a scan over layers."""
        eps = self.config.norm_eps
        attention = T5Attention(self.config, self.dtype, name="attn")
        x = x + attention(RMSNorm(eps, name="attn_norm")(x), bias, mask)
        mlp = T5GatedMLP(self.config, self.dtype, name="mlp")
        x = x + mlp(RMSNorm(eps, name="mlp_norm")(x))
        return constrain(x, "batch", "length", "embed"), None


class T5Encoder(nn.Module):
    """From token ids to text features.

    Matrix products have `dtype`. The residual stream and what is added to it are float32: their
    values are too large for float16, and need more digits than bfloat16 has.
    """

    config: T5Config
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, ids: Int[ArrayLike, "B T"], mask: TokenMask) -> Tokens:
        """Encode texts; no token sees padding, yet padding has features of its own."""
        c = self.config
        embed = self.param("embed", nn.initializers.normal(1.0), (c.vocab_size, c.width))
        table = self.param(
            "position_bias", nn.initializers.normal(c.width**-0.5), (c.position_buckets, c.heads)
        )
        buckets = position_buckets(ids.shape[1], c.position_buckets, c.position_max_distance)
        bias = table[buckets].astype(jnp.float32).transpose(2, 0, 1)  # [A,T,T]
        layers = nn.scan(
            T5Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, nn.broadcast),
            length=c.layers,
        )
        x = constrain(embedding_lookup(embed, ids).astype(jnp.float32), "batch", "length", "embed")
        x, _ = layers(c, self.dtype, name="blocks")(x, bias, mask)
        return RMSNorm(c.norm_eps, name="norm")(x)


def _dense(features: int, fan: int, dtype: Any, name: str, *, wide: bool = False) -> nn.Dense:
    return dense(features, fan**-0.5, dtype, name=name, use_bias=False, wide=wide)
