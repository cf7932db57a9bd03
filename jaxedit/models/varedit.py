"""The VAREdit transformer: bits of the target image, scale by scale, given the source and a text.

The sequence is [source | scale 1 | ... | scale K]. Scale 1 is one token made from the text; scale
k >= 2 holds the running feature of the scales before it. Each token predicts the bits of its own
scale. Text enters through cross-attention and through adaptive layer norms.

Source: VAREdit (ICLR 2026 submission), section 3, on the architecture of Infinity (Han et al. 2024).
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxedit.config import Scales, VAREditConfig
from jaxedit.models.sar import ScaleAligned
from jaxedit.nn.attention import BlockCausal, CrossAttention, SelfAttention, View, attend
from jaxedit.nn.layers import MLP, LayerNorm, RMSNorm, dense, drop_path, modulate
from jaxedit.ops import pyramid, rope
from jaxedit.tree import Tree


class Context(NamedTuple):
    """What every block gets besides the tokens.

    ada: f32[B,6,C], shared modulation; text: [B,T,C] or None when keys and values of the text are
    given layer by layer; text_mask: bool[B,T]; table: f32[2,S,E/2], rotary positions.
    """

    ada: jax.Array
    text: jax.Array | None
    text_mask: jax.Array
    table: jax.Array


def init_std(config: VAREditConfig) -> float:
    """Standard deviation of a new kernel; the release cuts at +-2, far outside."""
    return math.sqrt(1 / (3 * config.width))


class TextEncoder(nn.Module):
    """Text features to one vector and to the tokens of cross-attention."""

    config: VAREditConfig
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, text: jax.Array, mask: jax.Array, drop: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Encode, replacing dropped rows by the learned unconditional text of the same length.

        Args:
          text: f32[B,T,Ct].
          mask: bool[B,T].
          drop: bool[B].

        Returns:
          f32[B,C] and [B,T,C].

        Raises:
          ValueError: T is larger than `max_text_tokens`.
        """
        cfg, std = self.config, init_std(self.config)
        T = text.shape[1]
        if T > cfg.max_text_tokens:
            raise ValueError(f"{T} text tokens: expected at most {cfg.max_text_tokens}")
        uncond = self.param("uncond", _init_uncond, (cfg.max_text_tokens, cfg.text_width))
        text = jnp.where(drop[:, None, None], uncond[None, :T], text.astype(jnp.float32))
        text = RMSNorm(cfg.norm_eps, name="norm")(text)
        pooled = AttentivePool(cfg.width, cfg.text_pool_heads, std, self.dtype, name="pool")(
            text, mask
        )
        hidden = nn.gelu(dense(cfg.width, std, self.dtype, name="up")(text), approximate=True)
        return pooled, dense(cfg.width, std, self.dtype, name="down")(hidden)


class AttentivePool(nn.Module):
    """One learned query per head gathers the text into one vector."""

    width: int
    heads: int
    std: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, text: jax.Array, mask: jax.Array) -> jax.Array:
        """Pool text [B,T,Ct] where mask bool[B,T]; returns f32[B,C]."""
        B, T, _ = text.shape
        E = self.width // self.heads
        query = self.param("query", nn.initializers.normal(self.std), (self.heads, E))
        v_bias = self.param("v_bias", nn.initializers.zeros, (self.width,))
        kv = dense(2 * self.width, self.std, self.dtype, name="kv", use_bias=False)(text)
        kv = kv.reshape(B, T, 2, self.heads, E).transpose(2, 0, 3, 1, 4)  # [2,B,A,T,E]
        q = jnp.broadcast_to(query[None, :, None] * E**-0.5, (B, self.heads, 1, E))
        pooled = attend(q.astype(self.dtype), kv[0], kv[1], mask[:, None, None])
        # The weights sum to one, so the bias of the values passes through.
        pooled = pooled.reshape(B, self.width) + v_bias[None].astype(self.dtype)
        return dense(self.width, self.std, self.dtype, name="proj")(pooled).astype(jnp.float32)


class Block(nn.Module):
    """Self-attention, cross-attention and MLP; the residual stream is f32."""

    config: VAREditConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Declare the parts."""
        cfg, std = self.config, init_std(self.config)
        out_std = std / math.sqrt(2 * cfg.depth)
        self.ada_bias = self.param("ada_bias", _init_ada_bias, (6, cfg.width))
        self.attn = SelfAttention(cfg.heads, std, out_std, self.dtype)
        self.cross_norm = LayerNorm(cfg.norm_eps)
        self.cross = CrossAttention(cfg.heads, cfg.width, std, out_std, self.dtype)
        self.mlp = MLP(cfg.mlp_hidden, std, out_std, self.dtype)

    def text_memory(self, text: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """The text tokens [B,T,C] unchanged, and this layer's keys and values [B,A,T,E] of them."""
        return text, self.cross.keys_values(text)

    def __call__(
        self,
        carry: tuple[jax.Array, Any],
        text_memory: tuple[jax.Array, jax.Array] | None,
        drop_rate: jax.Array | None,
        context: Context,
        view: View,
    ) -> tuple[tuple[jax.Array, Any], None]:
        """One layer.

        Args:
          carry: tokens f32[B,N,C] and what `view` remembers.
          text_memory: from `text_memory`; None computes it from `context.text`.
          drop_rate: f32[], probability to skip a residual branch of a row; None = never.
          context: see `Context`.
          view: what the tokens see.

        Returns:
          The new carry, and None (a scan collects nothing).
        """
        x, memory = carry
        eps = self.config.norm_eps
        ada = context.ada + self.ada_bias[None]
        gamma1, gamma2, scale1, scale2, shift1, shift2 = (ada[:, i] for i in range(6))

        out, memory = self.attn(modulate(x, scale1, shift1, eps), context.table, view, memory)
        x = x + self._thin(out * gamma1[:, None], drop_rate)
        if text_memory is None:
            text_memory = self.cross.keys_values(context.text)
        x = x + self.cross(self.cross_norm(x), text_memory, context.text_mask)
        out = self.mlp(modulate(x, scale2, shift2, eps))
        x = x + self._thin(out * gamma2[:, None], drop_rate)
        return (x, memory), None

    def _thin(self, x: jax.Array, rate: jax.Array | None) -> jax.Array:
        return x if rate is None else drop_path(x, rate, self.make_rng("drop_path"))


class VAREdit(nn.Module):
    """The whole transformer.

    Attributes:
      config: sizes and modes.
      dtype: of matrix products; norms, softmax, residual stream and logits are f32.
      remat: recompute each block's activations in the backward pass.
    """

    config: VAREditConfig
    dtype: Any = jnp.float32
    remat: bool = False

    def setup(self) -> None:
        """Declare the parts; all blocks but the first are stacked."""
        cfg, std = self.config, init_std(self.config)
        normal = nn.initializers.normal(std)
        block = nn.remat(Block, prevent_cse=False) if self.remat else Block
        self.text = TextEncoder(cfg, self.dtype)
        self.pos_start = self.param("pos_start", normal, (cfg.width,))
        self.level_embed = self.param("level_embed", normal, (cfg.levels, cfg.width))
        self.word_embed = dense(cfg.width, std, self.dtype)
        self.ada = dense(6 * cfg.width, std, jnp.float32)
        self.first_block = block(cfg, self.dtype)
        self.blocks = _stack(block, cfg.depth - 1)(cfg, self.dtype)
        self.head_ada = dense(2 * cfg.width, std * 1e-3, jnp.float32)
        self.head = dense(2 * cfg.token_bits, std * 0.02, jnp.float32)

    def __call__(
        self,
        text: jax.Array,
        text_mask: jax.Array,
        text_drop: jax.Array,
        source: jax.Array,
        inputs: jax.Array,
        *,
        scales: Scales,
        rope_scales: Scales,
        deterministic: bool = True,
    ) -> jax.Array:
        """Teacher-forced logits of all scales at once.

        Args:
          text: f32[B,T,Ct], features of the text encoder.
          text_mask: bool[B,T].
          text_drop: bool[B], rows whose text becomes the unconditional one.
          source: f32[B,Ls,Q], tokens of the source image.
          inputs: f32[B,Lt-1,Q], tokens of target scales 2 to K.
          scales: target schedule in tokens (static).
          rope_scales: schedule from which positions are taken (static).
          deterministic: no stochastic depth; otherwise an rng `drop_path` is needed.

        Returns:
          f32[B,Lt,Q,2], logits of each bit being 0 or 1.
        """
        cfg = self.config
        source_scales = self.source_scales(scales)
        cond, text_tokens = self.text(text, text_mask, text_drop)
        table = self.rotary(scales, rope_scales)
        context = Context(self.modulation(cond), text_tokens, text_mask, table)

        x = jnp.concatenate(
            [self.embed_source(source, scales), self.embed_target(cond, inputs, scales)], axis=1
        )
        documents = tuple(h * w for h, w in (*source_scales, *scales))
        view = BlockCausal(documents)
        first_view = ScaleAligned(scales) if cfg.conditioning == "sar" else view
        rates = None if deterministic or not cfg.drop_path else _drop_rates(cfg)
        carry, _ = self.first_block((x, None), None, None, context, first_view)
        (x, _), _ = self.blocks(carry, None, rates, context, view)
        return self.logits(x[:, pyramid.tokens(source_scales) :], cond)

    def source_scales(self, scales: Scales) -> Scales:
        """Grids of the source tokens: every scale in mode `full`, otherwise the last one."""
        return scales if self.config.conditioning == "full" else scales[-1:]

    def rotary(self, scales: Scales, rope_scales: Scales) -> jax.Array:
        """Rotary table f32[2,S,E/2] of the sequence [source | scales]."""
        cfg = self.config
        positions = rope.sequence_positions(
            scales, rope_scales, source_scales=self.source_scales(scales), mode=cfg.rope_mode
        )
        return jnp.asarray(rope.rotary_table(positions, cfg.head_width, cfg.rope_base))

    def modulation(self, cond: jax.Array) -> jax.Array:
        """Modulation f32[B,6,C] shared by all blocks, from the text vector f32[B,C]."""
        return self.ada(nn.silu(cond)).reshape(-1, 6, self.config.width)

    def embed_source(self, source: jax.Array, scales: Scales) -> jax.Array:
        """Source tokens f32[B,Ls,Q] as f32[B,Ls,C] with the embedding of their level."""
        grids = self.source_scales(scales)
        levels = range(len(scales) - len(grids), len(scales))
        return self.word_embed(source) + self._levels(levels, grids)

    def embed_target(self, cond: jax.Array, inputs: jax.Array, scales: Scales) -> jax.Array:
        """All target tokens f32[B,Lt,C]: the start token, then inputs f32[B,Lt-1,Q]."""
        x = jnp.concatenate([self.start_token(cond), self.word_embed(inputs)], axis=1)
        return x + self._levels(range(len(scales)), scales)

    def start_token(self, cond: jax.Array) -> jax.Array:
        """The token f32[B,1,C] of scale 1."""
        return (cond + self.pos_start[None])[:, None]

    def logits(self, x: jax.Array, cond: jax.Array) -> jax.Array:
        """Bit logits f32[B,N,Q,2] of tokens f32[B,N,C]."""
        scale, shift = jnp.split(self.head_ada(nn.silu(cond)), 2, axis=-1)
        x = self.head(modulate(x, scale, shift, self.config.norm_eps))
        return x.reshape(*x.shape[:2], self.config.token_bits, 2)

    def _levels(self, levels: range, grids: Scales) -> jax.Array:
        rows = [level for level, (h, w) in zip(levels, grids, strict=True) for _ in range(h * w)]
        return self.level_embed[jnp.array(rows)][None]


def init_params(config: VAREditConfig, key: jax.Array) -> Tree:
    """Fresh parameters as in the release.

    Args:
      config: sizes.
      key: key[].

    Returns:
      f32 parameter tree; shapes only, under `jax.eval_shape`.
    """
    text = jnp.zeros((1, 1, config.text_width))
    tokens = jnp.zeros((1, 1, config.token_bits))
    model = VAREdit(config)
    variables = model.init(
        key,
        text,
        jnp.ones((1, 1), bool),
        jnp.zeros((1,), bool),
        tokens,
        tokens[:, :0],
        scales=((1, 1),),
        rope_scales=config.rope_scales,
    )
    return variables["params"]


def _stack(block: type[nn.Module], length: int) -> type[nn.Module]:
    """`block` scanned over `length` layers; text memory and drop rates come layer by layer."""
    shared = {
        "variable_axes": {"params": 0},
        "split_rngs": {"params": True, "drop_path": True},
        "length": length,
    }
    methods = {
        "__call__": shared | {"in_axes": (0, 0, nn.broadcast, nn.broadcast)},
        "text_memory": shared | {"in_axes": ()},
    }
    return nn.scan(block, methods=methods)


def _drop_rates(config: VAREditConfig) -> jax.Array:
    """Stochastic depth of layers 1 to L-1, growing linearly from 0 at layer 0."""
    return jnp.linspace(0, config.drop_path, config.depth)[1:]


def _init_uncond(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
    cut = 2 / 1.2
    return jax.random.truncated_normal(key, -cut, cut, shape, dtype) * (1.2 / math.sqrt(shape[1]))


def _init_ada_bias(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
    std = jnp.array([5e-6, 5e-6, 1e-3, 1e-3, 1e-3, 1e-3])[:, None] / math.sqrt(shape[1])
    return jax.random.normal(key, shape, dtype) * std
