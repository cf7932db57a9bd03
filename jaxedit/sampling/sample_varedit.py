"""VAREdit and Infinity from pixels and text to pixels: the function that runs on the device."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int, UInt8

from jaxedit import rng, tree
from jaxedit.config import PretrainedConfig, VAREditConfig
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import image, quantize
from jaxedit.sampling import next_scale
from jaxedit.sampling.lock import BitLock, cells_in
from jaxedit.sampling.methods import BitSampling, Numbers, draw_uniforms


class Rows(NamedTuple):
    """The inputs that differ from image to image.

    Attributes:
      pixels: source images; None for Infinity.
      text: features of the instructions, see `encode_text`; P texts for each image with ERec.
      mask: True at tokens.
      seeds: random seed of each image.
      edit_mask: True where an image may change; None: everywhere. The tokens of each scale that
        contain no such pixel keep the source's bits, see `BitLock`.
    """

    pixels: UInt8[ArrayLike, "B S S 3"] | None
    text: Float[ArrayLike, "B *P T Ct"]
    mask: Bool[ArrayLike, "B *P T"]
    seeds: Int[ArrayLike, " B"]
    edit_mask: Bool[ArrayLike, "B S S"] | None = None


@functools.partial(jax.jit, static_argnames=("config", "greedy", "dtype", "runs", "guided"))
def edit_pixels(
    params: tree.Tree,
    rows: Rows,
    numbers: Numbers,
    *,
    config: PretrainedConfig,
    greedy: bool,
    dtype: str,
    runs: tuple[int, ...] = (),
    guided: int | None = None,
) -> tuple[UInt8[Array, "B S S 3"], next_scale.Bits]:
    """Edit square images, or draw them; return pixels and bits. Each row is computed by itself.

    Args:
      params: {"bsq": ..., "transformer": ...}.
      rows: source images, instructions and seeds.
      numbers: numbers of SampleConfig, see `numbers_of`.
      config: the model.
      greedy: take the likelier value of each bit.
      dtype: dtype of the matrix products in the transformer.
      runs: tokens of each scale that are run, see `lock.runs_of`.
      guided: number of scales that are guided, see `SampleConfig`; None: all.

    Source: VAREdit (ICLR 2026 submission), section 3.
    """
    c = config.varedit
    bsq = BSQTokenizer(config.bsq, precision=encoder_precision(c, rows.edit_mask is not None))
    uniforms = None if greedy else uniforms_of(rows.seeds, c)
    source, lock = jnp.zeros((len(rows.seeds), 0, c.token_bits)), None
    if rows.pixels is not None:
        pixels = image.to_float(rows.pixels)
        raw = bsq.apply({"params": params["bsq"]}, pixels, method="encode")
        source = source_tokens(raw, c)
        if rows.edit_mask is not None:
            lock = BitLock(raw, tuple(cells_in(rows.edit_mask, size) for size in c.scales))
    bits, feature = next_scale.generate(
        VAREdit(c, dtype),
        params["transformer"],
        rows.text,
        rows.mask,
        source,
        BitSampling(uniforms, numbers),
        scales=c.scales,
        rope_scales=c.rope_scales,
        lock=lock,
        runs=runs,
        guided=guided,
    )
    decoded = bsq.apply({"params": params["bsq"]}, feature, method="decode")  # [B,S,S,3]
    return image.to_uint8(decoded), bits


def encoder_precision(config: VAREditConfig, is_masked: bool) -> jax.lax.Precision:
    """Return the precision of the image encoder's convolutions.

    Where bits of the source are read or kept, no bit may flip. Otherwise the transformer reads the
    features themselves, and products of three bfloat16 parts are enough, at half the time.
    """
    needs_bits = is_masked or config.conditioning == "full"
    return jax.lax.Precision.HIGHEST if needs_bits else jax.lax.Precision.HIGH


def uniforms_of(
    seeds: Int[ArrayLike, " B"], config: VAREditConfig, stream: str = "bits"
) -> tuple[Float32[Array, "B _ Q"], ...]:
    """Draw the uniform numbers of every scale, by which the bits of images are chosen.

    Another `stream` gives independent numbers for the same seeds.
    """
    keys = jax.vmap(lambda seed: rng.key_for(seed, stream))(seeds)
    return draw_uniforms(keys, config.scales, config.token_bits)


def source_tokens(
    raw: Float[ArrayLike, "B h w d"], config: VAREditConfig
) -> Float[ArrayLike, "B Ls Q"]:
    """Return the source as the transformer reads it: the finest scale or, in mode `full`, all.

    `raw` are features of the image tokenizer.
    """
    c = config
    if c.conditioning == "full":
        return quantize.full_source_tokens(raw, c.latent_scales, patchify=c.patchify)
    return quantize.source_tokens(raw, patchify=c.patchify)
