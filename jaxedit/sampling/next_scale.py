"""Next-scale sampling: the source once, then K scales of bits, each added to the running feature.

Scales are unrolled, layers are scanned inside each. Guided and unguided rows are neighbours in one
batch, so that a batch cut over devices keeps both rows of an image on one device.
"""

import jax
import jax.numpy as jnp

from jaxedit.config import Scales
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import quantize
from jaxedit.sampling.methods import SamplingMethod
from jaxedit.tree import Tree

Bits = tuple[jax.Array, ...]


def generate(
    model: VAREdit,
    params: Tree,
    text: jax.Array,
    text_mask: jax.Array,
    source: jax.Array,
    method: SamplingMethod,
    *,
    scales: Scales,
    rope_scales: Scales,
) -> tuple[Bits, jax.Array]:
    """Sample the bits of the edited images; pure, to be called inside one `jit`.

    Row i depends on row i of the inputs and of `method` alone: every reduction is within a row. (A
    backend may round matrix products differently for another batch size.)

    Args:
      model: the transformer.
      params: its parameters.
      text: f32[B,T,Ct], features of the text encoder.
      text_mask: bool[B,T].
      source: f32[B,Ls,Q], tokens of the source images.
      method: chooses the bits of each scale for the guided and the unguided row.
      scales: target schedule in tokens (static).
      rope_scales: schedule from which positions are taken (static).

    Returns:
      bits, per scale bool[B,n_k,Q], and feature f32[B,H,W,d], which the image decoder takes.

    Source: VAREdit, section 3.1 and appendix; release code.
    """
    B = len(text)
    variables, is_patchified = {"params": params}, model.config.patchify
    factor = 2 if is_patchified else 1
    latent_scales = [(factor * h, factor * w) for h, w in scales]
    text, text_mask, source = _twice(text), _twice(text_mask), _twice(source)
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
        chosen, _ = method(logits.reshape(B, 2, *logits.shape[1:]), k)
        bits = chosen[:, 0]
        all_bits.append(bits)
        feature = quantize.accumulate(feature, bits, size, full, is_patchified)
        if k + 1 < len(scales):
            tokens = _twice(quantize.next_input(feature, latent_scales[k + 1], is_patchified))
    return tuple(all_bits), feature


def _twice(x: jax.Array) -> jax.Array:
    """Each row of x[B,...] twice in a row: [2B,...]."""
    return jnp.repeat(x, 2, axis=0)
