"""PyTorch key map of LlamaGen's VQ tokenizers (`vq_ds16_*.pt`, `vq_ds8_*.pt`, under "model").

In both halves level 0 runs first.
"""

from jaxedit.convert.keymaps.key_rules import TABLE, KeyMap, Rule, conv, norm, under

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
