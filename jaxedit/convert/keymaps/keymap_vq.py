"""Key map and config of LlamaGen's VQ tokenizers (`vq_ds16_*.pt`, `vq_ds8_*.pt`, under "model").

Encoder and decoder both run level 0 first.
"""

from typing import Any

from jaxedit.config import PretrainedConfig, VQConfig
from jaxedit.convert.keymaps.key_rules import TABLE, KeyMap, Rule, conv, norm, under
from jaxedit.convert.sizes import Settings, Shapes, levels_of, setting

_BLOCK = (
    *norm("norm1", "norm1"),
    *conv("conv1", "conv1"),
    *norm("norm2", "norm2"),
    *conv("conv2", "conv2"),
    *conv("nin_shortcut", "shortcut"),
)
_ATTENTION = (
    *norm("norm", "norm"),
    *conv("q", "q"),
    *conv("k", "k"),
    *conv("v", "v"),
    *conv("proj_out", "proj"),
)
_HALF = (
    *conv("conv_in", "conv_in"),
    *under("mid.0.", "mid_block_1/", _BLOCK),
    *under("mid.1.", "mid_attn/", _ATTENTION),
    *under("mid.2.", "mid_block_2/", _BLOCK),
    *norm("norm_out", "norm_out"),
    *conv("conv_out", "conv_out"),
)
_ENCODER = (
    *_HALF,
    *under("conv_blocks.{}.res.{}.", "down_{}_block_{}/", _BLOCK),
    *under("conv_blocks.{}.attn.{}.", "down_{}_attn_{}/", _ATTENTION),
    *conv("conv_blocks.{}.downsample.conv", "down_{}_downsample"),
)
_DECODER = (
    *_HALF,
    *under("conv_blocks.{}.res.{}.", "up_{}_block_{}/", _BLOCK),
    *under("conv_blocks.{}.attn.{}.", "up_{}_attn_{}/", _ATTENTION),
    *conv("conv_blocks.{}.upsample.conv", "up_{}_upsample/conv"),
)

KEYMAP = KeyMap(
    rules=(
        *under("encoder.", "encoder/", _ENCODER),
        *under("decoder.", "decoder/", _DECODER),
        *conv("quant_conv", "quant_conv"),
        *conv("post_quant_conv", "post_quant_conv"),
        Rule("quantize.embedding.weight", "codebook", TABLE),
    ),
    ignored=(r"quantize\.codebook_used",),  # bookkeeping of the release's training
)


def config_of(shapes: Shapes, settings: Settings) -> VQConfig:
    """Return the config of a tokenizer.

    As released: codes are compared as unit vectors, if its run does not say `codebook_l2_norm`.
    """
    codes, code_width = shapes["codebook"]
    return VQConfig(
        codes=codes,
        code_width=code_width,
        latent_width=shapes["encoder/conv_out/kernel"][3],
        unit_norm=setting(settings, "codebook_l2_norm", True),
        **levels_of(shapes),
    )


def settings_of(config: PretrainedConfig) -> dict[str, Any]:
    """Return the file's settings that `config_of` reads."""
    return {"codebook_l2_norm": config.vq.unit_norm}
