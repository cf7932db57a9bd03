"""Next-scale sampling: the source once, then K scales of bits, each added to the running feature.

Scales are unrolled, layers are scanned inside each scale. The guided and the unguided row of an
image are neighbours in the batch, so that a batch cut over devices keeps both on one device.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Shaped

from jaxedit.config import Scales
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import quantize
from jaxedit.sampling.lock import BitLock
from jaxedit.sampling.methods import SamplingMethod
from jaxedit.tree import Tree

Bits = tuple[Bool[Array, "B _ Q"], ...]  # of every scale


def generate(
    model: VAREdit,
    params: Tree,
    text: Float[ArrayLike, "B T Ct"],
    text_mask: Bool[ArrayLike, "B T"],
    source: Float[ArrayLike, "B Ls Q"],
    method: SamplingMethod,
    *,
    scales: Scales,
    rope_scales: Scales,
    lock: BitLock | None = None,
) -> tuple[Bits, Float32[Array, "B H W d"]]:
    """Sample the bits of the edited images, and the feature that the image decoder takes.

    The function is pure, to be called inside one `jit`. Row i of the result depends on row i of the
    inputs and of `method` alone. (A backend may round matrix products differently for another batch
    size.)

    Args:
      model: the transformer.
      params: its parameters.
      text: features of the text encoder.
      text_mask: True at tokens.
      source: tokens of the source images.
      method: chooses the bits of each scale for the guided and the unguided row.
      scales: target schedule in tokens (static).
      rope_scales: schedule from which positions are taken (static).
      lock: tokens that keep the source's bits; None: no tokens.

    Source: VAREdit, section 3.1 and appendix; release code.
    """
    B = len(text)
    variables, is_patchified = {"params": params}, model.config.patchify
    factor = 2 if is_patchified else 1
    latent_scales = [(factor * h, factor * w) for h, w in scales]
    text, text_mask, source = _twice(text), _twice(text_mask), _twice(source)
    state = model.apply(
        variables,
        text,
        text_mask,
        jnp.tile(jnp.array([False, True]), B),  # the second row of each image has no text
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
        if lock is not None:
            bits = lock.keep(bits, feature, k, size, is_patchified)
        all_bits.append(bits)
        feature = quantize.accumulate(feature, bits, size, full, is_patchified)
        if k + 1 < len(scales):
            tokens = _twice(quantize.next_input(feature, latent_scales[k + 1], is_patchified))
    return tuple(all_bits), feature


def _twice(x: Shaped[ArrayLike, "B ..."]) -> Shaped[Array, "2*B ..."]:
    """Repeat each row, next to itself."""
    return jnp.repeat(x, 2, axis=0)
