"""The transformer of LlamaGen and EditAR: image tokens, one after another, after a prefix.

The sequence is [source image N | text T | target image N] (EditAR), [text T | image N] or
[class | image N] (LlamaGen). All of it is causal, the prefix too, and each position predicts the
next token. For guidance, conditions are dropped: constants take their place (`Null`).

Source: Sun et al. 2024 (LlamaGen), section 2; Mu et al. 2025 (EditAR), section 3; release code.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int, Key, Shaped

from jaxedit.config import EditARConfig
from jaxedit.models.editar_attention import CausalSequence
from jaxedit.models.editar_block import INIT_STD, EditARBlock, stack_editar_blocks
from jaxedit.nn.conv import conv_init
from jaxedit.nn.kernels import kernel_length
from jaxedit.nn.layers import RMSNorm, dense, dropout, embedding_lookup, rematerialised
from jaxedit.ops import rope
from jaxedit.sharding.rules import constrain
from jaxedit.tree import Tree

Condition = Float[ArrayLike, "B T Ct"] | Int[ArrayLike, " B"]  # text features, or classes
Rows = Bool[ArrayLike, " B"]


class Null(NamedTuple):
    """Random constants that replace dropped conditions; never trained, saved with the weights.

    Attributes:
      text: replaces the text's features.
      image: replaces the source's embeddings.
    """

    text: Float[ArrayLike, "T Ct"] | None = None
    image: Float[ArrayLike, "N D"] | None = None


class Output(NamedTuple):
    """Logits and hidden states at the N positions that predict the image."""

    logits: Float32[Array, "B N V"]
    hidden: Float32[Array, "B N D"]


class TextMLP(nn.Module):
    """From features of the text encoder to tokens: two dense maps with a GELU between them."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Float[ArrayLike, "B T Ct"]) -> Float[Array, "B T D"]:
        """Map features; the result has the compute dtype."""
        x = dense(self.width, INIT_STD, self.dtype, name="fc1", use_bias=False)(features)
        x = nn.gelu(x, approximate=True)
        return dense(self.width, INIT_STD, self.dtype, name="fc2", use_bias=False)(x)


class Align(nn.Module):
    """From hidden states to a teacher's features: a 2x2 convolution with stride 2."""

    config: EditARConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, hidden: Float32[ArrayLike, "B N D"]) -> Float32[Array, "B N//4 Dt"]:
        """Map hidden states; both sequences go row by row.

        Source: EditAR, section 3.3 (distillation).
        """
        g, D, width = self.config.grid, self.config.width, self.config.distill_width
        kernel = self.param("kernel", conv_init, (2, 2, D, width))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        x = hidden.reshape(-1, g // 2, 2, g // 2, 2, D).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(-1, 4 * D).astype(self.dtype)  # [B*N/4,4D], a patch per row
        x = (x @ kernel.reshape(4 * D, width).astype(self.dtype)).astype(jnp.float32)
        return x.reshape(len(hidden), -1, width) + bias[None, None]


class EditAR(nn.Module):
    """The whole transformer, in the form for training: all tokens at once.

    Attributes:
      config: sizes and the kind of prefix.
      dtype: dtype of matrix products; norms, softmax, residual stream and logits are f32.
      remat: activations that the backward pass recomputes, see `nn.layers.rematerialised`.
      unroll: blocks in one iteration of the loop over blocks.
    """

    config: EditARConfig
    dtype: Any = jnp.float32
    remat: str = "none"
    unroll: int = 1

    def setup(self) -> None:
        """Declare the parts; all blocks are stacked."""
        cfg, normal = self.config, nn.initializers.normal(INIT_STD)
        block = rematerialised(EditARBlock, self.remat)
        self.embed = self.param("embed", normal, (cfg.codes, cfg.width))
        if cfg.prefix == "class":
            self.class_embed = self.param("class_embed", normal, (cfg.classes + 1, cfg.width))
        else:
            self.text = TextMLP(cfg.width, self.dtype)
        self.blocks = stack_editar_blocks(block, cfg.layers, self.unroll)(cfg, self.dtype)
        self.norm = RMSNorm(cfg.norm_eps)
        self.head = dense(cfg.codes, 0.0, jnp.float32, use_bias=False)

    def __call__(
        self, condition: Condition, target: Int[ArrayLike, "B N"], **options: Any
    ) -> Output:
        """Return teacher-forced logits of all tokens of the image; arguments as of `hidden`."""
        hidden = self.hidden(condition, target, **options)
        if self.is_initializing() and self.config.distill_width:
            self.align(hidden)
        return Output(self.head(hidden), hidden)

    def hidden(
        self,
        condition: Condition,
        target: Int[ArrayLike, "B N"],
        *,
        null: Null,
        source: Int[ArrayLike, "B N"] | None = None,
        text_mask: Bool[ArrayLike, "B T"] | None = None,
        drop_text: Rows | None = None,
        drop_image: Rows | None = None,
        deterministic: bool = True,
    ) -> Float32[Array, "B N D"]:
        """Return hidden states at the positions that predict the image, all at once.

        Args:
          condition: features of the text encoder, or classes (prefix "class").
          target: the tokens to predict.
          null: replaces dropped conditions.
          source: tokens of the source image (prefix "edit").
          text_mask: False at padding, which is on the left and not seen (prefix "text"); None: all
            tokens are seen.
          drop_text: rows without text or class; None: no row.
          drop_image: rows without source image (prefix "edit"); None: no row.
          deterministic: no dropout; otherwise an rng `dropout` is needed.
        """
        cfg = self.config
        drop_rate, token_rate = (0, 0) if deterministic else (cfg.dropout, cfg.token_dropout)
        text = self.embed_condition(condition, drop_text, null.text)
        image = embedding_lookup(self.embed, target[:, :-1])
        if cfg.prefix == "edit":
            source = self.embed_source(source, drop_image, null.image)
            x = jnp.concatenate([source, self._dropout(text, token_rate), image], axis=1)  # [B,S,D]
        else:
            x = self._dropout(jnp.concatenate([text, image], axis=1), token_rate)
        S = x.shape[1]
        padded = kernel_length(S, cfg.head_width)  # no token sees the padding after S
        more = ((0, 0), (0, padded - S), (0, 0))
        x = constrain(jnp.pad(x, more), "batch", "length", "embed")
        if text_mask is not None:
            rest = ((0, 0), (0, padded - text_mask.shape[1]))
            text_mask = jnp.pad(text_mask, rest, constant_values=True)
        table = jnp.asarray(np.pad(rope.sequence_table(cfg)[:, :S], more))
        x, _ = self.blocks(x, CausalSequence(table, text_mask), None, drop_rate or None)
        return self.norm(x[:, cfg.prefix_tokens - 1 : S])

    @nn.compact
    def align(self, hidden: Float32[ArrayLike, "B N D"]) -> Float32[Array, "B N//4 Dt"]:
        """Predict a teacher's features from hidden states."""
        return Align(self.config, self.dtype, name="align")(hidden)

    def embed_condition(
        self, condition: Condition, drop: Rows | None, null: Float[ArrayLike, "T Ct"] | None
    ) -> Float[ArrayLike, "B _ D"]:
        """Embed text features as T tokens, or classes as a single token."""
        if self.config.prefix == "class":
            if drop is not None:
                condition = jnp.where(drop, self.config.classes, condition)
            return self.class_embed[condition][:, None]
        if drop is not None:
            condition = jnp.where(drop[:, None, None], null[None], condition)
        return self.text(condition).astype(jnp.float32)

    def embed_source(
        self, source: Int[ArrayLike, "B N"], drop: Rows | None, null: Float[ArrayLike, "N D"] | None
    ) -> Float[ArrayLike, "B N D"]:
        """Embed the source's tokens."""
        x = embedding_lookup(self.embed, source)
        return x if drop is None else jnp.where(drop[:, None, None], null[None], x)

    def _dropout(self, x: jax.Array, rate: float) -> jax.Array:
        return dropout(x, rate, self.make_rng("dropout")) if rate else x


def init_params(config: EditARConfig, key: Key[Array, ""]) -> Tree:
    """Return fresh parameters, f32, as in the release; the head starts at zero."""
    tokens = jnp.zeros((1, config.image_tokens), jnp.int32)
    is_class = config.prefix == "class"
    condition = tokens[:, 0] if is_class else jnp.zeros((1, config.text_tokens, config.text_width))
    return EditAR(config).init(key, condition, tokens, null=Null(), source=tokens)["params"]


def init_null(config: EditARConfig, key: Key[Array, ""]) -> Tree:
    """Return fresh constants of `Null`, by name, as far as the kind of prefix has them."""
    shapes = {}
    if config.prefix != "class":
        shapes["text"] = (config.text_tokens, config.text_width)
    if config.prefix == "edit":
        shapes["image"] = (config.image_tokens, config.width)
    return {
        name: jax.random.normal(jax.random.fold_in(key, i), shape) * shape[1] ** -0.5
        for i, (name, shape) in enumerate(shapes.items())
    }


def left_pad(
    features: Shaped[ArrayLike, "B T Ct"], mask: Bool[ArrayLike, "B T"]
) -> tuple[Shaped[Array, "B T Ct"], Bool[ArrayLike, "B T"]]:
    """Move the padding of texts from the right to the left, where LlamaGen reads it.

    Args:
      features: features of the text encoder.
      mask: True at the tokens, which come first.

    Returns:
      The features, zero at the padding, and the mask.
    """
    T = mask.shape[1]
    index = (jnp.arange(T)[None] + mask.sum(1, keepdims=True)) % T  # [B,T]
    flipped = mask[:, ::-1]
    features = jnp.take_along_axis(features, index[:, :, None], axis=1)
    return jnp.where(flipped[:, :, None], features, 0), flipped
