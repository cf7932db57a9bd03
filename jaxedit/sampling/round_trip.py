"""Pictures through an image tokenizer and back."""

import functools

import jax
from jaxtyping import Array, UInt8

from jaxedit import tree
from jaxedit.config import PretrainedConfig, Scales
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.vq import VQTokenizer
from jaxedit.ops import image, quantize


@functools.partial(jax.jit, static_argnames=("config", "scales"))
def reconstruct(
    params: tree.Tree,
    pixels: UInt8[Array, "B S S 3"],
    *,
    config: PretrainedConfig,
    scales: Scales = (),
) -> UInt8[Array, "B S S 3"]:
    """Return what the tokens of pictures say of them.

    Args:
      params: of the image tokenizer.
      scales: of the residual pyramid, in latent positions; (): the tokenizer is a VQ tokenizer.
    """
    raw, variables = image.to_float(pixels), {"params": params}
    if not scales:
        return image.to_uint8(VQTokenizer(config.vq).apply(variables, raw))
    model = BSQTokenizer(config.bsq)
    latents = model.apply(variables, raw, method="encode")
    _, features = quantize.encode_scales(latents, scales)
    return image.to_uint8(model.apply(variables, features[-1], method="decode"))
