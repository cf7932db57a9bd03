"""The transformer block of ViT and CLIP: layer norms before each part, biases everywhere.

Source: Dosovitskiy et al. 2021 (ViT), equations 2 and 3; Radford et al. 2021 (CLIP), section 2.4.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxedit.nn.attention import dot_product_attention, join_heads, split_heads
from jaxedit.nn.layers import MLP, LayerNorm, dense, layer_scale
from jaxedit.sharding.rules import constrain

INIT_STD = 0.02  # of every kernel and table


class EncoderAttention(nn.Module):
    """Self-attention of every token to all tokens, or to those that a mask shows."""

    heads: int
    dtype: Any = jnp.float32
    has_layer_scale: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Attend from every token.

        Args:
          x: f32[B,S,D].
          mask: bool[B,1,S,S], True = visible; None is all.

        Returns:
          f32[B,S,D], and the keys [B,S,D], heads side by side.
        """
        D = x.shape[-1]
        q, k, v = (dense(D, INIT_STD, self.dtype, name=name)(x) for name in "qkv")
        heads = [split_heads(y, self.heads) for y in (q, k, v)]
        heads[0] *= (D // self.heads) ** -0.5
        out = join_heads(dot_product_attention(*heads, mask))
        out = dense(D, INIT_STD, self.dtype, name="proj")(out).astype(jnp.float32)
        return layer_scale(self, out) if self.has_layer_scale else out, k


class EncoderBlock(nn.Module):
    """Attention and MLP, each after a norm and beside a skip; the residual stream is f32.

    Attributes:
      heads: A.
      mlp_hidden: width of the MLP between its two maps.
      norm_eps: of the layer norms.
      activation: of the MLP.
      dtype: of the matrix products.
      has_layer_scale: DINOv2's learnt gain per channel of what attention and MLP add.
    """

    heads: int
    mlp_hidden: int
    norm_eps: float
    activation: Callable[[jax.Array], jax.Array]
    dtype: Any = jnp.float32
    has_layer_scale: bool = False

    @nn.compact
    def __call__(
        self, carry: tuple[jax.Array, jax.Array], mask: jax.Array | None
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        """One layer, in the (carry, output) form of a scan over layers.

        Args:
          carry: f32[B,S,D], and the keys [B,S,D] of the layer before, which are not read.
          mask: bool[B,1,S,S], True = visible; None is all.

        Returns:
          (f32[B,S,D], keys [B,S,D] of this layer), and None.
        """
        x, _ = carry
        attention = EncoderAttention(self.heads, self.dtype, self.has_layer_scale, name="attn")
        attended, keys = attention(LayerNorm(self.norm_eps, name="attn_norm")(x), mask)
        x = x + attended
        mlp = MLP(
            self.mlp_hidden,
            INIT_STD,
            INIT_STD,
            self.dtype,
            self.activation,
            self.has_layer_scale,
            name="mlp",
        )
        x = x + mlp(LayerNorm(self.norm_eps, name="mlp_norm")(x))
        return (constrain(x, "batch", "length", "embed"), keys), None


def run_encoder(
    x: jax.Array, layers: int, *, mask: jax.Array | None = None, **options: Any
) -> tuple[jax.Array, jax.Array]:
    """Run the stacked blocks of the calling module, named `blocks`.

    Args:
      x: f32[B,S,D].
      layers: how many.
      mask: bool[B,1,S,S], True = visible; None is all.
      **options: attributes of `EncoderBlock`.

    Returns:
      f32[B,S,D], and the last layer's keys [B,S,D] in the compute dtype.
    """
    blocks = nn.scan(
        EncoderBlock,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=nn.broadcast,
        length=layers,
    )
    no_keys = jnp.zeros(x.shape, options["dtype"])
    return blocks(**options, name="blocks")((x, no_keys), mask)[0]
