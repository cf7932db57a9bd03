"""The transformer block of ViT and CLIP: layer norms before each part, biases everywhere.

Source: Dosovitskiy et al. 2021 (ViT), equations 2 and 3; Radford et al. 2021 (CLIP), section 2.4.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from jaxedit.nn.attention import dot_product_attention, join_heads, split_heads
from jaxedit.nn.layers import MLP, LayerNorm, dense, layer_scale
from jaxedit.sharding.rules import constrain

INIT_STD = 0.02  # deviation of every kernel and table at the start

Hidden = Float[Array, "B S D"]
Mask = Bool[Array, "#B 1 S S"]  # True = visible


class EncoderAttention(nn.Module):
    """Self-attention of every token to all tokens, or to the tokens that a mask shows."""

    heads: int
    dtype: Any = jnp.float32
    has_layer_scale: bool = False

    @nn.compact
    def __call__(self, x: Hidden, mask: Mask | None) -> tuple[Hidden, Hidden]:
        """Attend from every token; return also the keys, heads side by side."""
        D = x.shape[-1]
        q, k, v = (dense(D, INIT_STD, self.dtype, name=name)(x) for name in "qkv")
        heads = [split_heads(y, self.heads) for y in (q, k, v)]
        heads[0] *= (D // self.heads) ** -0.5
        out = join_heads(dot_product_attention(*heads, mask))
        out = dense(D, INIT_STD, self.dtype, name="proj")(out).astype(jnp.float32)
        return layer_scale(self, out) if self.has_layer_scale else out, k


class EncoderBlock(nn.Module):
    """Attention and MLP, each after a norm and beside a skip; the residual stream is f32.

    With `has_layer_scale` (DINOv2), what attention and MLP add is multiplied by a learnt gain per
    channel.
    """

    heads: int
    mlp_hidden: int
    norm_eps: float
    activation: Callable[[jax.Array], jax.Array]
    dtype: Any = jnp.float32
    has_layer_scale: bool = False

    @nn.compact
    def __call__(
        self, carry: tuple[Hidden, Hidden], mask: Mask | None
    ) -> tuple[tuple[Hidden, Hidden], None]:
        """Run the layer, in the (carry, output) form of a scan over layers.

        The carry holds the tokens, and the keys of the layer before, which are not read.
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


def patch_tokens(
    pixels: Float[ArrayLike, "B H W 3"],
    class_token: Float[ArrayLike, "1 D"],
    patch: int,
    *,
    dtype: Any,
    use_bias: bool,
) -> tuple[Hidden, tuple[int, int]]:
    """Turn images into tokens, f32: the class token, then the patches row by row.

    The patches go through a convolution of the calling module, named `patch`. The second result is
    the number of patches, (height, width).
    """
    D = class_token.shape[-1]
    init = nn.initializers.normal(INIT_STD)
    options = {"use_bias": use_bias, "dtype": dtype, "kernel_init": init, "name": "patch"}
    patches = nn.Conv(D, (patch, patch), patch, "VALID", **options)(pixels)
    B, h, w, _ = patches.shape
    first = jnp.broadcast_to(class_token[None], (B, 1, D))
    patches = patches.reshape(B, h * w, D).astype(jnp.float32)
    return jnp.concatenate([first, patches], axis=1), (h, w)


def run_encoder(
    x: Hidden, layers: int, *, mask: Mask | None = None, **options: Any
) -> tuple[Hidden, Hidden]:
    """Run the stacked blocks of the calling module, named `blocks`.

    Args:
      x: tokens.
      layers: number of blocks.
      mask: the keys that each query sees; None: all.
      **options: attributes of `EncoderBlock`.

    Returns:
      Features of the tokens, and the last layer's keys in the compute dtype.
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
