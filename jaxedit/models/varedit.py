"""The transformer of VAREdit and Infinity: bits of an image, scale by scale, given a text.

The sequence is [source | scale 1 | ... | scale K]; Infinity reads no source. Scale 1 is a token
that is made from the text; scale k >= 2 holds the running feature of the scales before it. Each
token predicts the bits of its own scale. The text enters by cross-attention and by adaptive layer
norms. Axis letters: Ls and Lt tokens of the source and of all target scales.

Source: VAREdit (ICLR 2026 submission), section 3, on the architecture of Infinity (Han et al.).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int, Key

from jaxedit.config import Scales, VAREditConfig
from jaxedit.models.condition import TextEncoder
from jaxedit.models.sar import SARDecode, SARPrefill, SARTraining
from jaxedit.models.varedit_block import (
    BlockCausal,
    Context,
    Extend,
    PerLayer,
    VAREditBlock,
    drop_rates,
    stack_varedit_blocks,
)
from jaxedit.nn.attention_scores import Measured
from jaxedit.nn.cache_kernel import cache_length
from jaxedit.nn.kernels import kernel_length
from jaxedit.nn.kv_cache import KeysValues, KVCache
from jaxedit.nn.layers import dense, exact, modulate, rematerialised
from jaxedit.ops import pyramid, rope
from jaxedit.sharding.rules import constrain, gather
from jaxedit.tree import Tree

Text = Float[ArrayLike, "B T Ct"]  # features of the text encoder
TextMask = Bool[ArrayLike, "B T"]  # True at tokens of the text
Rows = Bool[ArrayLike, " B"]
Bits = Float[ArrayLike, "B _ Q"]  # tokens as sums of codes
Hidden = Float32[Array, "B _ D"]
Cond = Float32[Array, "B D"]  # vector of the text


class Decoding(NamedTuple):
    """The state that sampling carries from scale to scale.

    Attributes:
      context: `table` covers the whole sequence, and `text` is None.
      first_text, text: keys and values of the text in layer 0, and in all other layers.
      first_cache, cache: caches of layer 0, and of all other layers.
      references: the source at each scale for layer 0 (mode `sar`), or nothing.
    """

    cond: Cond
    context: Context
    first_text: KeysValues
    text: KeysValues
    first_cache: KVCache
    cache: KVCache
    references: tuple[KeysValues, ...]

    def rows(self, kept: Int[ArrayLike, " M"]) -> "Decoding":
        """Return the state of some rows of the batch, by their numbers."""

        def take(part: Any, axis: int) -> Any:
            return jax.tree.map(lambda x: jnp.take(x, kept, axis=axis), part)

        def of(cache: KVCache) -> KVCache:
            return cache._replace(keys=take(cache.keys, 1), values=take(cache.values, 1))

        context = self.context._replace(
            ada=take(self.context.ada, 0), text_mask=take(self.context.text_mask, 0)
        )
        return Decoding(
            cond=take(self.cond, 0),
            context=context,
            first_text=take(self.first_text, 0),
            text=take(self.text, 1),
            first_cache=of(self.first_cache),
            cache=of(self.cache),
            references=take(self.references, 0),
        )


class VAREdit(nn.Module):
    """The whole transformer.

    Attributes:
      config: sizes and modes.
      dtype: dtype of matrix products in blocks; text, embeddings, head and all norms are f32.
      remat: activations that the backward pass recomputes, see `nn.layers.rematerialised`.
      unroll: blocks in one iteration of the loop over blocks.
    """

    config: VAREditConfig
    dtype: Any = jnp.float32
    remat: str = "none"
    unroll: int = 1

    def setup(self) -> None:
        """Declare the parts; all blocks but the first are stacked."""
        cfg, std = self.config, self.config.init_std
        normal = nn.initializers.normal(std)
        block = rematerialised(VAREditBlock, self.remat)
        self.text = TextEncoder(cfg)
        self.pos_start = self.param("pos_start", normal, (cfg.width,))
        self.level_embed = self.param("level_embed", normal, (cfg.levels, cfg.width))
        self.word_embed = dense(cfg.width, std, jnp.float32)
        self.ada = dense(6 * cfg.width, std, jnp.float32)
        self.first_block = block(cfg, self.dtype)
        self.blocks = stack_varedit_blocks(block, cfg.depth - 1, self.unroll)(cfg, self.dtype)
        self.head_ada = dense(2 * cfg.width, std * 1e-3, jnp.float32)
        self.head = dense(2 * cfg.token_bits, std * 0.02, jnp.float32)

    def __call__(
        self,
        text: Text,
        text_mask: TextMask,
        text_drop: Rows,
        source: Bits,
        inputs: Bits,
        *,
        scales: Scales,
        rope_scales: Scales,
        deterministic: bool = True,
        measure: bool = False,
    ) -> Float32[Array, "B Lt Q 2"]:
        """Return teacher-forced logits of all scales at once: of each bit being 0, and being 1.

        Args:
          text: features of the text encoder.
          text_mask: True at tokens.
          text_drop: rows whose text becomes the unconditional text.
          source: Ls tokens of the source image; none for Infinity.
          inputs: tokens of target scales 2 to K.
          scales: target schedule in tokens (static).
          rope_scales: schedule from which positions are taken (static).
          deterministic: no stochastic depth; otherwise an rng `drop_path` is needed.
          measure: sow the intermediate `attention_scores`, f32[L,B,G,G] of all layers, between the
            scales of source and target in the order of the sequence, see `Measured` (static).
        """
        cfg = self.config
        source_scales = cfg.source_scales(scales)
        cond, text_tokens = self.text(text, text_mask, text_drop)
        table = self.rotary(scales, rope_scales)
        context = Context(self.modulation(cond), text_tokens, text_mask, table)

        x = jnp.concatenate(
            [self.embed_source(source, scales), self.embed_target(cond, inputs, scales)], axis=1
        )
        x = constrain(x, "batch", "length", "embed")
        blocks = tuple(h * w for h, w in (*source_scales, *scales))
        pattern = BlockCausal(blocks)
        first_pattern = SARTraining(scales) if cfg.conditioning == "sar" else pattern
        if measure:
            pattern, first_pattern = Measured(pattern, blocks), Measured(first_pattern, blocks)
        rates = None if deterministic or not cfg.drop_path else drop_rates(cfg)
        x, first_scores = self.first_block(x, PerLayer(), context, first_pattern, None)
        rest = kernel_length(x.shape[1], cfg.head_width) - x.shape[1]
        if rest and not measure:  # one padding block; no token of the sequence attends to it
            more = ((0, 0), (0, rest), (0, 0))
            context = context._replace(table=jnp.pad(context.table, more))
            x, pattern = jnp.pad(x, more), BlockCausal((*blocks, rest))
        x, scores = self.blocks(x, PerLayer(rates), context, pattern, None)
        if measure:
            scores = jnp.concatenate([first_scores[None], scores])
            self.sow("intermediates", "attention_scores", scores)
        return self.logits(x[:, pyramid.tokens(source_scales) : sum(blocks)], cond)

    def begin(
        self,
        text: Text,
        text_mask: TextMask,
        text_drop: Rows,
        source: Bits,
        *,
        scales: Scales,
        rope_scales: Scales,
    ) -> Decoding:
        """Read text and source, and fill the caches; arguments as of `__call__`."""
        is_sar = self.config.conditioning == "sar"
        cond, text_tokens = self.text(text, text_mask, text_drop)
        _, first_text = self.first_block.read_text(text_tokens)
        _, text_memory = self.blocks.read_text(text_tokens)
        blocks = tuple(h * w for h, w in self.config.source_scales(scales))
        Ls, length = sum(blocks), pyramid.tokens(scales[:-1])  # no scale reads the last
        table = self.rotary(scales, rope_scales)
        context = Context(self.modulation(cond), None, text_mask, table)
        first_cache = self._empty_cache(1, len(text), length if is_sar else Ls + length)
        cache = self._empty_cache(self.config.depth - 1, len(text), Ls + length)
        state = Decoding(cond, context, first_text, text_memory, first_cache, cache, ())
        if not Ls:  # Infinity has no source
            return state

        x, pattern = self.embed_source(source, scales), BlockCausal(blocks, keep=True)
        context = context._replace(table=table[:, :Ls])
        first_pattern = SARPrefill(scales) if is_sar else pattern
        x, first = self.first_block(x, PerLayer(text=first_text), context, first_pattern, None)
        _, others = self.blocks(x, PerLayer(text=text_memory), context, pattern, None)
        state = state._replace(cache=cache.write(others, 0))
        if is_sar:
            return state._replace(references=first)
        return state._replace(first_cache=first_cache.write(_stacked(first), 0))

    def extend(
        self,
        state: Decoding,
        inputs: Bits | None,
        k: int,
        *,
        scales: Scales,
        index: Int[ArrayLike, "B n"] | None = None,
        earlier: int | None = None,
    ) -> tuple[Float32[Array, "B n Q 2"], Decoding]:
        """Run the next scale, or some of its tokens; return their bit logits and the new state.

        Args:
          state: from `begin`, or from the scale before.
          inputs: the running feature at the tokens; None at the first scale.
          k: number of the scale, from 0.
          scales: target schedule in tokens.
          index: numbers of the tokens within the scale, for each row; None: all tokens. No later
            token sees the tokens that are not run.
          earlier: number of tokens of earlier scales that were run; None: all of them (static).
        """
        source = pyramid.tokens(self.config.source_scales(scales))
        first, stop = source + pyramid.tokens(scales[:k]), source + pyramid.tokens(scales[: k + 1])
        start = pyramid.tokens(scales[:k]) if earlier is None else earlier
        table = state.context.table[:, first:stop]
        context = state.context._replace(table=table if index is None else table[:, index])
        x = self.start_token(state.cond) if inputs is None else self._embedded(inputs)
        x = x + self.level_embed[k][None, None]
        pattern = first_pattern = Extend(source + start)
        first_past = state.first_cache
        if state.references:
            first_pattern = SARDecode(start)
            first_past = (first_past, state.references[k])
        layer = PerLayer(text=state.first_text)
        x, first_kept = self.first_block(x, layer, context, first_pattern, first_past)
        layers = PerLayer(text=state.text, index=jnp.arange(self.config.depth - 1))
        x, kept = self.blocks(x, layers, context, pattern, state.cache)
        logits = self.logits(x, state.cond)
        if k + 1 == len(scales):
            return logits, state
        at = start if state.references else source + start
        first_cache = state.first_cache.write(_stacked(first_kept), at)
        cache = state.cache.write(kept, source + start)
        return logits, state._replace(first_cache=first_cache, cache=cache)

    def rotary(self, scales: Scales, rope_scales: Scales) -> Float32[Array, "2 S half"]:
        """Return the rotary table of the sequence [source | scales]."""
        cfg = self.config
        positions = rope.sequence_positions(
            scales, rope_scales, source_scales=cfg.source_scales(scales), mode=cfg.rope_mode
        )
        return jnp.asarray(rope.rotary_table(positions, cfg.head_width, cfg.rope_base))

    @exact
    def modulation(self, cond: Cond) -> Float32[Array, "B 6 D"]:
        """Compute the modulation that all blocks share from the text vector."""
        return self.ada(nn.silu(cond)).reshape(-1, 6, self.config.width)

    def embed_source(self, source: Bits, scales: Scales) -> Hidden:
        """Embed source tokens, with their level."""
        grids = self.config.source_scales(scales)
        levels = range(len(scales) - len(grids), len(scales))
        return self._embedded(source) + self._levels(levels, grids)

    def embed_target(self, cond: Cond, inputs: Bits, scales: Scales) -> Hidden:
        """Embed all target tokens, with their level: the start token, then the inputs."""
        x = jnp.concatenate([self.start_token(cond), self._embedded(inputs)], axis=1)
        return x + self._levels(range(len(scales)), scales)

    def start_token(self, cond: Cond) -> Float32[Array, "B 1 D"]:
        """Return the token of scale 1."""
        return (cond + self.pos_start[None])[:, None]

    @exact
    def logits(self, x: Float32[Array, "B N D"], cond: Cond) -> Float32[Array, "B N Q 2"]:
        """Return the bit logits of tokens."""
        scale, shift = jnp.split(self.head_ada(nn.silu(cond)), 2, axis=-1)
        x = self.head(modulate(x, scale, shift, self.config.norm_eps))
        return x.reshape(*x.shape[:2], self.config.token_bits, 2)

    def _empty_cache(self, layers: int, rows: int, length: int) -> KVCache:
        cfg = self.config
        shape = (layers, rows, cfg.heads, cache_length(length), cfg.head_width)
        return KVCache.empty(shape, self.dtype)

    @exact
    def _embedded(self, tokens: Bits) -> Hidden:
        """Embed tokens; on a mesh a device has the whole width of its rows."""
        return constrain(self.word_embed(tokens), "batch", "length", "embed")

    def _levels(self, levels: range, grids: Scales) -> jax.Array:
        rows = [level for level, (h, w) in zip(levels, grids, strict=True) for _ in range(h * w)]
        return gather(self.level_embed, (None, "embed"))[jnp.array(rows, jnp.int32)][None]


def init_params(config: VAREditConfig, key: Key[Array, ""]) -> Tree:
    """Return fresh parameters, f32, as in the release."""
    tokens = jnp.zeros((1, 1, config.token_bits))
    variables = VAREdit(config).init(
        key,
        jnp.zeros((1, 1, config.text_width)),
        jnp.ones((1, 1), bool),
        jnp.zeros((1,), bool),
        tokens[:, : len(config.source_scales(((1, 1),)))],
        tokens[:, :0],
        scales=((1, 1),),
        rope_scales=config.rope_scales,
    )
    return variables["params"]


def _stacked(layer: KeysValues) -> KeysValues:
    """Return the keys and values of a layer as a stack of one layer."""
    return KeysValues(layer.keys[None], layer.values[None])
