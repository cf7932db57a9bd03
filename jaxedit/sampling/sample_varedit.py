"""VAREdit and Infinity from pixels and text to pixels: the one function that runs on the device."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit import rng, tree
from jaxedit.config import PretrainedConfig, VAREditConfig
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import image, quantize
from jaxedit.sampling import next_scale
from jaxedit.sampling.methods import BitSampling, Numbers, draw_uniforms


class Rows(NamedTuple):
    """What differs from picture to picture.

    pixels: u8[B,S,S,3], or None for Infinity; text: f32[B,T,Ct], see `encode_text`;
    mask: bool[B,T]; seeds: i32[B].
    """

    pixels: Any
    text: Any
    mask: Any
    seeds: Any


@functools.partial(jax.jit, static_argnames=("config", "greedy", "dtype"))
def edit_pixels(
    params: tree.Tree,
    rows: Rows,
    numbers: Numbers,
    *,
    config: PretrainedConfig,
    greedy: bool,
    dtype: str,
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Edit B square pictures, or draw them: a pure function, which computes each row by itself.

    Args:
      params: {"bsq": ..., "transformer": ...}.
      rows: pictures, instructions' features and seeds.
      numbers: of SampleConfig, see `numbers_of`.
      config: the model.
      greedy: take the likelier value of each bit.
      dtype: of the matrix products in the transformer.

    Returns:
      (u8[B,S,S,3], per scale bool[B,n_k,Q]).

    Source: VAREdit (ICLR 2026 submission), section 3.
    """
    c = config.varedit
    bsq = BSQTokenizer(config.bsq)
    keys = jax.vmap(lambda seed: rng.key_for(seed, "bits"))(rows.seeds)
    uniforms = None if greedy else draw_uniforms(keys, c.scales, c.token_bits)
    source = jnp.zeros((len(rows.seeds), 0, c.token_bits))
    if rows.pixels is not None:
        pixels = image.to_float(rows.pixels)
        raw = bsq.apply({"params": params["bsq"]}, pixels, method="encode")
        source = source_tokens(raw, c)
    bits, feature = next_scale.generate(
        VAREdit(c, dtype),
        params["transformer"],
        rows.text,
        rows.mask,
        source,
        BitSampling(uniforms, numbers),
        scales=c.scales,
        rope_scales=c.rope_scales,
    )
    decoded = bsq.apply({"params": params["bsq"]}, feature, method="decode")  # [B,S,S,3]
    return image.to_uint8(decoded), bits


def source_tokens(raw: jax.Array, config: VAREditConfig) -> jax.Array:
    """What the transformer sees of the source image.

    Args:
      raw: f32[B,h,w,d], the image tokenizer's features.
      config: the transformer's conditioning and scales.

    Returns:
      f32[B,Ls,Q], tokens of the finest scale or, in mode `full`, of every scale.
    """
    c = config
    if c.conditioning == "full":
        return quantize.full_source_tokens(raw, c.latent_scales, patchify=c.patchify)
    return quantize.source_tokens(raw, patchify=c.patchify)
