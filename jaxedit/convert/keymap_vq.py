"""PyTorch key map of LlamaGen's VQ tokenizers (`vq_ds16_*.pt`, `vq_ds8_*.pt`, under "model")."""

from collections.abc import Mapping

import numpy as np

from jaxedit.convert.keymaps import Rule, conv, from_torch, same
from jaxedit.tree import Tree

# Layers: regex of the PyTorch prefix, path. In both halves level 0 runs first.
_DOWN = (r"encoder\.conv_blocks\.(\d+)", "encoder/down_{0}")
_UP = (r"decoder\.conv_blocks\.(\d+)", "decoder/up_{0}")
_BLOCKS = (
    (rf"{_DOWN[0]}\.res\.(\d+)\.(?:nin_)?", f"{_DOWN[1]}_block_{{1}}/{{2}}"),
    (rf"{_UP[0]}\.res\.(\d+)\.(?:nin_)?", f"{_UP[1]}_block_{{1}}/{{2}}"),
    (r"(encoder|decoder)\.(mid)\.0\.", "{0}/{1}_block_1/{2}"),
    (r"(encoder|decoder)\.(mid)\.2\.", "{0}/{1}_block_2/{2}"),
    (rf"{_DOWN[0]}\.attn\.(\d+)\.", f"{_DOWN[1]}_attn_{{1}}/{{2}}"),
    (rf"{_UP[0]}\.attn\.(\d+)\.", f"{_UP[1]}_attn_{{1}}/{{2}}"),
    (r"(encoder|decoder)\.(mid)\.1\.", "{0}/{1}_attn/{2}"),
)
_CONVS = (
    *((rf"{key}(conv[12]|shortcut|[qkv]|proj(?=_out))(?:_out)?", path) for key, path in _BLOCKS),
    (r"(encoder|decoder)\.(conv_in|conv_out)", "{0}/{1}"),
    (rf"{_DOWN[0]}\.downsample\.conv", f"{_DOWN[1]}_downsample"),
    (rf"{_UP[0]}\.upsample\.conv", f"{_UP[1]}_upsample/conv"),
    (r"((?:post_)?quant_conv)", "{0}"),
)
_NORMS = (
    *((rf"{key}(norm[12]?)", path) for key, path in _BLOCKS),
    (r"(encoder|decoder)\.(norm_out)", "{0}/{1}"),
)
RULES = (
    *(Rule(rf"{key}\.weight", f"{path}/kernel", conv) for key, path in _CONVS),
    *(Rule(rf"{key}\.weight", f"{path}/scale", same) for key, path in _NORMS),
    *(Rule(rf"{key}\.bias", f"{path}/bias", same) for key, path in (*_CONVS, *_NORMS)),
    Rule(r"quantize\.embedding\.weight", "codebook", same),
)
IGNORED = (r"quantize\.codebook_used",)  # bookkeeping of the release's training


def params_from_torch(state: Mapping[str, np.ndarray]) -> Tree:
    """Parameters of `VQTokenizer` from the release's state dict.

    Raises:
      ValueError: keys that belong to no layer of the tokenizer.
    """
    return from_torch(state, RULES, IGNORED)
