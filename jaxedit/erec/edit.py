"""ERec from pixels to pixels: EditAR's decoding with two paths, then the refinement.

source = editar.read_source(networks, pixels, ...)              # once per picture
paths = decode(networks, source, text, mask, seeds, ...)        # once per instruction
refined = refine(networks.vq, pixels, source.codes, paths, ...) # once per set of thresholds
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxedit.config import ERecConfig, PretrainedConfig, TokenSampleConfig
from jaxedit.erec.decode import Policy, layout
from jaxedit.erec.refine import (
    Maps,
    Thresholds,
    composite,
    edit_mask,
    lock,
    split,
    upsample_mask,
)
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import image
from jaxedit.sampling import sample_editar
from jaxedit.sampling.sample_editar import EncodedSource, Networks, Sampling
from jaxedit.tree import Tree


class Paths(NamedTuple):
    """Both paths of B pictures: tokens rec and edit i32[B,N], and the maps f32[B,g,g]."""

    rec: Any
    edit: Any
    maps: Maps


class Refined(NamedTuple):
    """pixels: u8[B,S,S,3]; tokens: i32[B,N]; mask: bool[B,g,g], True = edited."""

    pixels: Any
    tokens: Any
    mask: Any


def decode(
    networks: Networks,
    source: EncodedSource,
    text: jax.Array,
    mask: jax.Array,
    seeds: jax.Array,
    *,
    sample: TokenSampleConfig,
    erec: ERecConfig,
    config: PretrainedConfig,
    segment: int,
    progress: Callable[[int, int], None] | None = None,
) -> Paths:
    """Decode the reconstruction and the edit of B pictures as rows of one batch.

    Args:
      networks: see `editar.prepare`.
      source: B pictures.
      text: f32[B,2,T,Ct], features of the reconstruction prompt and of each instruction.
      mask: bool[B,2,T], True at tokens.
      seeds: i32[B].
      sample: how tokens are drawn.
      erec: what the paths share; of its numbers only tau_replace is read.
      config: the model.
      segment: tokens between two calls of `progress`.
      progress: called with (tokens done, tokens in all).

    Returns:
      `Paths`; the editing path is EditAR's edit with the same seed (unless tokens are replaced).

    Source: ERec, algorithm 1, steps 1 to 3.
    """
    thresholds, erec = split(erec)
    rows = layout(erec.recon_guidance, len(sample_editar.text_rows(sample)))
    prefix = source.prefix
    if sample.guidance_mode != "text" and len(rows.edit) > 1:  # the last null row of each path
        without = 2 if erec.recon_guidance == "own" else 1
        prefix = sample_editar.drop_image(
            networks.weights, prefix, rows=without, config=config.editar
        )
    state = sample_editar.begin(
        *(networks.weights, prefix, text, mask),
        rows=rows.texts,
        slots=segment + 1,
        config=config.editar,
    )
    policy = Policy(
        *(seeds, source.codes, Sampling.of(sample), thresholds.tau_replace),
        rows=rows,
        config=erec,
        greedy=sample.greedy,
    )
    _, steps = sample_editar.generate(
        *(networks.weights, prefix, state, policy),
        config=config.editar,
        segment=segment,
        progress=progress,
    )
    rec, edit, *maps = (x.T for x in steps)  # [B,N]
    g = config.editar.grid
    return Paths(rec, edit, Maps(*(m.reshape(-1, g, g) for m in maps)))


@functools.partial(jax.jit, static_argnames=("erec", "config"))
def refine(
    vq: Tree,
    pixels: jax.Array,
    codes: jax.Array,
    paths: Paths,
    thresholds: Thresholds,
    *,
    erec: ERecConfig,
    config: PretrainedConfig,
    decoded: jax.Array | None = None,
) -> Refined:
    """Keep the source outside the edit: its tokens, and the detail that the tokenizer lost.

    Args:
      vq: parameters of the image tokenizer.
      pixels: u8[B,S,S,3], the sources.
      codes: i32[B,N], their tokens.
      paths: from `decode`.
      thresholds: see `split`, of which this and `erec` are the halves.
      erec: which steps there are; without `refine` the edit stays as decoded.
      config: the model.
      decoded: f32[B,S,S,3], the decoder's pictures of `codes`, if they are at hand.

    Source: ERec, algorithm 3.
    """
    draw = functools.partial(draw_tokens, vq, config=config)
    mask = edit_mask(paths.maps, thresholds, erec)
    if not erec.refine:
        return Refined(image.to_uint8(draw(paths.edit)), paths.edit, mask)
    locked = lock(paths.edit, codes, mask.reshape(codes.shape))
    decoded = draw(codes) if decoded is None else decoded
    large = upsample_mask(mask, pixels.shape[1], erec.upsampling)
    result = composite(image.to_float(pixels), draw(locked), decoded, large, erec)
    return Refined(image.to_nearest_uint8(result), locked, mask)


@functools.partial(jax.jit, static_argnames="config")
def draw_tokens(vq: Tree, tokens: jax.Array, *, config: PretrainedConfig) -> jax.Array:
    """The decoder's pictures f32[B,S,S,3] of tokens i32[B,N], not clamped to [-1,1]."""
    g = config.editar.grid
    codes = tokens.reshape(-1, g, g)
    return VQTokenizer(config.vq).apply({"params": vq}, codes, method="decode")
