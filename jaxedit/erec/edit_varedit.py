"""VAREdit with ERec, from pixels and texts to pixels: the function that runs on the device."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, ArrayLike, Float, Int, UInt8

from jaxedit import tree
from jaxedit.config import PretrainedConfig, ScaleERecConfig
from jaxedit.erec import dual_path_scales
from jaxedit.erec.dual_path import layout
from jaxedit.erec.dual_path_scales import DualPathBitSampling, Found
from jaxedit.erec.edit_mask import Thresholds
from jaxedit.erec.restore import composite, upsample_mask
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.varedit import VAREdit
from jaxedit.ops import image, quantize
from jaxedit.sampling import next_scale
from jaxedit.sampling.methods import BitSampling, Numbers
from jaxedit.sampling.next_scale import Bits, Network
from jaxedit.sampling.sample_varedit import Rows, source_tokens, uniforms_of

_FINISH = ("pixel_align", "upsampling", "clip_decoded", "hard_paste")  # read by `restore` alone


class Restored(NamedTuple):
    """Edits whose background is the source's.

    Attributes:
      pixels: of the edits.
      bits: of the edits.
      pictures: "reconstruction" and "raw_edit", unless only their coarse scales were decoded.
    """

    pixels: UInt8[Array, "B S S 3"]
    bits: Bits
    pictures: dict[str, UInt8[Array, "B S S 3"]]


def by_program(erec: ScaleERecConfig) -> tuple[ScaleERecConfig, ScaleERecConfig]:
    """Return the settings that `find_mask` and `restore` depend on; others have their defaults.

    Settings that differ elsewhere share a program.
    """
    default = ScaleERecConfig()
    finish = {name: getattr(erec, name) for name in _FINISH}
    others = {name: getattr(default, name) for name in _FINISH}
    found = dataclasses.replace(erec, **others)
    return found, dataclasses.replace(default, refine=erec.refine, **finish)


@functools.partial(jax.jit, static_argnames=("config", "erec", "greedy", "dtype", "guided"))
def find_mask(
    params: tree.Tree,
    rows: Rows,
    numbers: Numbers,
    thresholds: Thresholds,
    *,
    config: PretrainedConfig,
    erec: ScaleERecConfig,
    greedy: bool,
    dtype: str,
    guided: int | None = None,
) -> tuple[Found, Float[Array, "B H W d"]]:
    """Find the edit mask of square images. Each row is computed by itself.

    Args:
      params: {"bsq": ..., "transformer": ...}.
      rows: source images, seeds, and two texts for each image: to reconstruct, and to edit.
      numbers: numbers of SampleConfig, see `numbers_of`.
      thresholds: first result of `edit_mask.split`.
      config: the model.
      erec: of the second result of `edit_mask.split`, see `by_program`.
      greedy: take the likelier value of each bit.
      dtype: dtype of the matrix products in the transformer.
      guided: number of scales that are guided, see `SampleConfig`; None: all.

    Returns:
      The mask and the state behind it, and the features of the source images.
    """
    c, network = config.varedit, _network(params, config, dtype, guided=guided)
    source = BSQTokenizer(config.bsq).apply(
        {"params": params["bsq"]}, image.to_float(rows.pixels), method="encode"
    )
    layout_of_rows = layout(erec.recon_guidance, guidance_rows=2)
    uniforms = None
    if not greedy:
        edit = uniforms_of(rows.seeds, c)
        is_shared = erec.noise == "shared"
        rec = edit if is_shared else uniforms_of(rows.seeds, c, "bits of the reconstruction")
        uniforms = (rec, edit)
    state = next_scale.begin(
        network,
        rows.text,
        rows.mask,
        source_tokens(source, c),
        paths=layout_of_rows.path,
        dropped=layout_of_rows.dropped,
    )
    method = DualPathBitSampling(uniforms, numbers, layout_of_rows, erec.probabilities)
    found = dual_path_scales.find_mask(
        network, state, source, method, thresholds, erec=erec, editable=rows.edit_mask
    )
    return found, source


@functools.partial(jax.jit, static_argnames=("config", "erec", "greedy", "dtype", "runs", "guided"))
def restore(
    params: tree.Tree,
    found: Found,
    source: Float[Array, "B H W d"],
    pixels: UInt8[ArrayLike, "B S S 3"],
    seeds: Int[ArrayLike, " B"],
    numbers: Numbers,
    *,
    config: PretrainedConfig,
    erec: ScaleERecConfig,
    greedy: bool,
    dtype: str,
    runs: tuple[int, ...] = (),
    guided: int | None = None,
) -> Restored:
    """Finish the edits inside their masks, and restore everything else.

    Args:
      found, source: from `find_mask`.
      pixels: the source images.
      seeds: random seed of each image.
      runs: tokens of each scale that are run, see `lock.runs_of`.
      params, numbers, config, erec, greedy, dtype, guided: as for `find_mask`.
    """
    c, network = config.varedit, _network(params, config, dtype, runs=runs, guided=guided)
    draw = functools.partial(
        BSQTokenizer(config.bsq).apply, {"params": params["bsq"]}, method="decode"
    )
    uniforms = None if greedy else uniforms_of(seeds, c)
    bits, feature = dual_path_scales.finish(network, found, source, BitSampling(uniforms, numbers))
    edited = draw(feature)
    pictures = {name: image.to_uint8(draw(part)) for name, part in found.features.items()}
    if not erec.refine:
        return Restored(image.to_uint8(edited), bits, pictures)
    _, features = quantize.encode_scales(source, c.latent_scales)
    large = upsample_mask(found.mask, pixels.shape[1], erec.upsampling)
    result = composite(image.to_float(pixels), edited, draw(features[-1]), large, erec)
    return Restored(image.to_nearest_uint8(result), bits, pictures)


def _network(params: tree.Tree, config: PretrainedConfig, dtype: str, **options: Any) -> Network:
    c = config.varedit
    return Network(VAREdit(c, dtype), params["transformer"], c.scales, c.rope_scales, **options)
