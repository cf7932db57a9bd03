"""Next-scale sampling: the source once, then K scales of bits, each added to the running feature.

Scales are unrolled, layers are scanned inside each. Guided and unguided rows are neighbours in one
batch, so that a batch cut over devices keeps both rows of an image on one device.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxedit.config import Scales
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import quantize
from jaxedit.sampling.logits import choose_bits, guide
from jaxedit.tree import Tree

Bits = tuple[jax.Array, ...]


def generate(
    model: VAREdit,
    params: Tree,
    text: jax.Array,
    text_mask: jax.Array,
    source: jax.Array,
    keys: jax.Array,
    guidance: jax.Array,
    temperature: jax.Array,
    top_p: jax.Array,
    *,
    scales: Scales,
    rope_scales: Scales,
    greedy: bool = False,
) -> tuple[Bits, jax.Array]:
    """Sample the bits of the edited images; pure, to be called inside one `jit`.

    Row i depends on row i of the inputs and on keys[i] alone: every reduction is within a row. (A
    backend may round matrix products differently for another batch size.)

    Args:
      model: the transformer.
      params: its parameters.
      text: f32[B,T,Ct], features of the text encoder.
      text_mask: bool[B,T].
      source: f32[B,Ls,Q], tokens of the source images.
      keys: key[B], one per row; scale k draws with `fold_in(key, k)`.
      guidance: f32[K], per scale; 1 = off.
      temperature: f32[K], per scale.
      top_p: f32[] in (0,1]; 1 = off.
      scales: target schedule in tokens (static).
      rope_scales: schedule from which positions are taken (static).
      greedy: take the likelier value of each bit; `keys` and `top_p` are not used (static).

    Returns:
      bits, per scale bool[B,n_k,Q], and feature f32[B,H,W,d], which the image decoder takes.

    Source: VAREdit, section 3.1 and appendix; release code.
    """
    uniforms = None if greedy else draw_uniforms(keys, scales, model.config.token_bits)
    return decode(
        model,
        params,
        (text, text_mask, source),
        (guidance, temperature, top_p),
        uniforms,
        scales=scales,
        rope_scales=rope_scales,
    )


def draw_uniforms(keys: jax.Array, scales: Scales, token_bits: int) -> list[jax.Array]:
    """Uniform numbers f32[B,n_k,Q] of every scale for keys key[B]."""

    def draw(k: int, n: int) -> jax.Array:
        return jax.vmap(
            lambda key: jax.random.uniform(jax.random.fold_in(key, k), (n, token_bits))
        )(keys)

    return [draw(k, h * w) for k, (h, w) in enumerate(scales)]


def decode(
    model: VAREdit,
    params: Tree,
    inputs: tuple[jax.Array, jax.Array, jax.Array],
    settings: tuple[jax.Array, jax.Array, jax.Array],
    uniforms: Sequence[jax.Array] | None,
    *,
    scales: Scales,
    rope_scales: Scales,
) -> tuple[Bits, jax.Array]:
    """Turn uniform numbers into bits; the deterministic part of `generate`.

    Args:
      model: the transformer.
      params: its parameters.
      inputs: text, text_mask and source.
      settings: guidance, temperature and top_p.
      uniforms: per scale f32[B,n_k,Q] in [0,1), or None for the likelier value of each bit.
      scales: target schedule in tokens (static).
      rope_scales: schedule from which positions are taken (static).

    Returns:
      As `generate`.
    """
    guidance, temperature, top_p = settings
    variables, is_patchified = {"params": params}, model.config.patchify
    factor = 2 if is_patchified else 1
    latent_scales = [(factor * h, factor * w) for h, w in scales]
    text, text_mask, source = (_twice(x) for x in inputs)
    B = len(inputs[0])
    text_drop = jnp.tile(jnp.array([False, True]), B)
    state = model.apply(
        variables,
        text,
        text_mask,
        text_drop,
        source,
        scales=scales,
        rope_scales=rope_scales,
        method="begin",
    )
    full = latent_scales[-1]
    feature = jnp.zeros((B, *full, model.config.bits), jnp.float32)
    all_bits, tokens = [], None
    for k, size in enumerate(latent_scales):
        logits, state = model.apply(variables, state, tokens, k, scales=scales, method="extend")
        logits = guide(logits[0::2], logits[1::2], guidance[k], temperature[k])
        bits = choose_bits(logits, top_p, None if uniforms is None else uniforms[k])
        all_bits.append(bits)
        feature = quantize.accumulate(feature, bits, size, full, is_patchified)
        if k + 1 < len(scales):
            tokens = _twice(quantize.next_input(feature, latent_scales[k + 1], is_patchified))
    return tuple(all_bits), feature


def _twice(x: jax.Array) -> jax.Array:
    """Each row of x[B,...] twice in a row: [2B,...]."""
    return jnp.repeat(x, 2, axis=0)
