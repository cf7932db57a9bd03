"""The transformer of LlamaGen and EditAR: image tokens one after another, after a prefix.

The sequence is [source image N | text T | target image N] (EditAR), [text T | image N] or
[class | image N] (LlamaGen); everything is causal, the prefix too, and each position predicts the
token after it. Conditions are dropped for guidance by putting constants in their place (`Null`).

Source: Sun et al. 2024 (LlamaGen), section 2; Mu et al. 2025 (EditAR), section 3; release code.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.config import EditARConfig
from jaxedit.models.editar_attention import CausalSequence
from jaxedit.models.editar_block import INIT_STD, EditARBlock, stack_editar_blocks
from jaxedit.nn.conv import conv_init
from jaxedit.nn.kernels import kernel_length
from jaxedit.nn.layers import RMSNorm, dense, dropout, embedding_lookup, rematerialised
from jaxedit.ops import rope
from jaxedit.sharding.rules import constrain
from jaxedit.tree import Tree


class Null(NamedTuple):
    """What stands for a dropped condition: random constants, never trained, saved with weights.

    text: f32[T,Ct], in place of the text's features; image: f32[N,D], of the source's embeddings.
    """

    text: jax.Array | None = None
    image: jax.Array | None = None


class Output(NamedTuple):
    """Of the N positions that predict the image: logits f32[B,N,V] and hidden f32[B,N,D]."""

    logits: jax.Array
    hidden: jax.Array


class TextMLP(nn.Module):
    """Features of the text encoder as tokens: two dense maps with a GELU between."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """f32[B,T,Ct] to [B,T,D] in the compute dtype."""
        x = dense(self.width, INIT_STD, self.dtype, name="fc1", use_bias=False)(features)
        x = nn.gelu(x, approximate=True)
        return dense(self.width, INIT_STD, self.dtype, name="fc2", use_bias=False)(x)


class Align(nn.Module):
    """Hidden states as a teacher's features: a 2x2 convolution with stride 2."""

    config: EditARConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, hidden: jax.Array) -> jax.Array:
        """f32[B,N,D] to f32[B,N/4,dt], both in raster order.

        Source: EditAR, section 3.3 (distillation).
        """
        g, D, dt = self.config.grid, self.config.width, self.config.distill_width
        kernel = self.param("kernel", conv_init, (2, 2, D, dt))
        bias = self.param("bias", nn.initializers.zeros, (dt,))
        x = hidden.reshape(-1, g // 2, 2, g // 2, 2, D).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(-1, 4 * D).astype(self.dtype)  # [B*N/4,4D], a patch per row
        x = (x @ kernel.reshape(4 * D, dt).astype(self.dtype)).astype(jnp.float32)
        return x.reshape(len(hidden), -1, dt) + bias[None, None]


class EditAR(nn.Module):
    """The whole transformer, in the form for training: all tokens at once.

    Attributes:
      config: sizes and the kind of prefix.
      dtype: of matrix products; norms, softmax, residual stream and logits are f32.
      remat: which activations of a block the backward pass computes again, see
        `nn.layers.rematerialised`.
      unroll: blocks in one turn of the loop over blocks.
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

    def __call__(self, condition: jax.Array, target: jax.Array, **options: Any) -> Output:
        """Teacher-forced logits of all tokens of the image; arguments as of `hidden`.

        Returns:
          Logits and hidden states, of which `align` makes features.
        """
        hidden = self.hidden(condition, target, **options)
        if self.is_initializing() and self.config.distill_width:
            self.align(hidden)
        return Output(self.head(hidden), hidden)

    def hidden(
        self,
        condition: jax.Array,
        target: jax.Array,
        *,
        null: Null,
        source: jax.Array | None = None,
        text_mask: jax.Array | None = None,
        drop_text: jax.Array | None = None,
        drop_image: jax.Array | None = None,
        deterministic: bool = True,
    ) -> jax.Array:
        """Hidden states f32[B,N,D] of the positions that predict the image, all at once.

        Args:
          condition: f32[B,T,Ct], features of the text encoder; or i32[B], classes (class).
          target: i32[B,N], the tokens to predict.
          null: stands for dropped conditions.
          source: i32[B,N], tokens of the source image (edit).
          text_mask: bool[B,T], of left-padded features, padding is not seen (text); None: all are.
          drop_text: bool[B], rows without text or class; None: no row.
          drop_image: bool[B], rows without source image (edit); None: no row.
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
        padded = kernel_length(S, cfg.head_width)  # nobody sees what comes after S
        more = ((0, 0), (0, padded - S), (0, 0))
        x = constrain(jnp.pad(x, more), "batch", "length", "embed")
        if text_mask is not None:
            rest = ((0, 0), (0, padded - text_mask.shape[1]))
            text_mask = jnp.pad(text_mask, rest, constant_values=True)
        table = jnp.asarray(np.pad(rope.sequence_table(cfg)[:, :S], more))
        x, _ = self.blocks(x, CausalSequence(table, text_mask), None, drop_rate or None)
        return self.norm(x[:, cfg.prefix_tokens - 1 : S])

    @nn.compact
    def align(self, hidden: jax.Array) -> jax.Array:
        """The teacher's features f32[B,N/4,dt] as predicted from hidden states [B,N,D]."""
        return Align(self.config, self.dtype, name="align")(hidden)

    def embed_condition(
        self, condition: jax.Array, drop: jax.Array | None, null: jax.Array | None
    ) -> jax.Array:
        """Embeddings [B,T,D] of text features f32[B,T,Ct], or [B,1,D] of classes i32[B]."""
        if self.config.prefix == "class":
            if drop is not None:
                condition = jnp.where(drop, self.config.classes, condition)
            return self.class_embed[condition][:, None]
        if drop is not None:
            condition = jnp.where(drop[:, None, None], null[None], condition)
        return self.text(condition).astype(jnp.float32)

    def embed_source(
        self, source: jax.Array, drop: jax.Array | None, null: jax.Array | None
    ) -> jax.Array:
        """Embeddings f32[B,N,D] of the source's tokens i32[B,N]."""
        x = embedding_lookup(self.embed, source)
        return x if drop is None else jnp.where(drop[:, None, None], null[None], x)

    def _dropout(self, x: jax.Array, rate: float) -> jax.Array:
        return dropout(x, rate, self.make_rng("dropout")) if rate else x


def init_params(config: EditARConfig, key: jax.Array) -> Tree:
    """Fresh parameters as in the release; the head starts at zero.

    Args:
      config: sizes.
      key: key[].

    Returns:
      f32 parameter tree; shapes only, under `jax.eval_shape`.
    """
    tokens = jnp.zeros((1, config.image_tokens), jnp.int32)
    is_class = config.prefix == "class"
    condition = tokens[:, 0] if is_class else jnp.zeros((1, config.text_tokens, config.text_width))
    return EditAR(config).init(key, condition, tokens, null=Null(), source=tokens)["params"]


def init_null(config: EditARConfig, key: jax.Array) -> Tree:
    """Fresh constants of `Null` by name: {"text", "image"}, {"text"}, or {} for classes.

    Args:
      config: sizes.
      key: key[].
    """
    shapes = {
        "edit": {"text": (config.text_tokens, config.text_width)}
        | {"image": (config.image_tokens, config.width)},
        "text": {"text": (config.text_tokens, config.text_width)},
        "class": {},
    }[config.prefix]
    return {
        name: jax.random.normal(jax.random.fold_in(key, i), shape) * shape[1] ** -0.5
        for i, (name, shape) in enumerate(shapes.items())
    }


def left_pad(features: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Text padded on the left, as LlamaGen reads it, from text padded on the right.

    Args:
      features: f32[B,T,Ct].
      mask: bool[B,T], True at the tokens, which come first.

    Returns:
      f32[B,T,Ct], zero at the padding, and bool[B,T].
    """
    T = mask.shape[1]
    index = (jnp.arange(T)[None] + mask.sum(1, keepdims=True)) % T  # [B,T]
    flipped = mask[:, ::-1]
    features = jnp.take_along_axis(features, index[:, :, None], axis=1)
    return jnp.where(flipped[:, :, None], features, 0), flipped
